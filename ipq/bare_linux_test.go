package ipq

import (
	"os"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
)

// bareSocket returns a queue's end of a socket pair whose far end the test
// reads and writes itself, where a fake kernel would be in the way: it reads
// all the time, and allocates. Config messages go to config.
func bareSocket(t *testing.T, config func(netlink.Message) error) (near *fakekernel.Socket, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	return &fakekernel.Socket{File: os.NewFile(uintptr(fds[0]), "queue"), Config: config}, fds[1]
}

// bareQueue opens a queue on a bareSocket that takes every configuration.
func bareQueue(t *testing.T, cfg Config) (q *Queue, far int) {
	t.Helper()
	near, far := bareSocket(t, func(netlink.Message) error { return nil })
	return openOn(t, cfg, netlink.NewConn(near, 1)), far
}

func openOn(t *testing.T, cfg Config, conn *netlink.Conn) *Queue {
	t.Helper()
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	q, err := openQueue(cfg, func(cfg *Config, queue uint16) (*socket, error) { return socketOn(cfg, queue, conn) })
	if err != nil {
		t.Fatal(err)
	}
	return q
}
