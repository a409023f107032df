package nfsock

import (
	"errors"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/mdlayher/netlink"
	nlsocket "github.com/mdlayher/socket"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// The buffer for a packet, as the kernel counts it.
func TestTruesize(t *testing.T) {
	const whole = zerocopy.MaxCopyRange
	for _, x := range []struct {
		mode      uint8
		copyRange int
		gso       bool
		want      int
	}{
		{zerocopy.CopyPacket, whole, false, 2048 + 384},
		{zerocopy.CopyPacket, 64, false, 1024 + 384},
		{zerocopy.CopyMeta, whole, false, 512 + 384},
		{zerocopy.CopyPacket, whole, true, 1<<17 + 384},
		{zerocopy.CopyPacket, 64, true, 1024 + 384},
		{zerocopy.CopyMeta, whole, true, 512 + 384},
	} {
		o := Options{CopyMode: x.mode, CopyRange: x.copyRange}
		if x.gso {
			o.Flags = zerocopy.FlagGSO
		}
		if got := truesize(&o); got != x.want {
			t.Errorf("%+v: %d, want %d", x, got, x.want)
		}
	}
}

// Where the tables cannot be read, the kernel tells that an adopted socket does
// not listen on the queue.
func TestKernelAdoptionWithoutTables(t *testing.T) {
	ns := labtest.New(t)
	var file *os.File
	if err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), "socket")
		return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}); err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	conn, err := nlsocket.FileConn(file, "netlink")
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	s, err := New(o, netlink.NewConn(adopted{conn}, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.adopted = true
	var refusal *Refusal
	if err := s.Bind(o); !errors.As(err, &refusal) || refusal.Cause != NotBound || refusal.Errno != syscall.ENODEV {
		t.Errorf("%v", err)
	}
}

// The kernel's routes tell broadcast from addresses of hosts.
func TestKernelRawBroadcast(t *testing.T) {
	ns := labtest.New(t)
	if err := errors.Join(netlab.Veth(ns, "a", ns, "b"), ns.Addr("a", "10.1.0.254/24")); err != nil {
		t.Fatal(err)
	}
	o := options()
	o.NetNS = ns.FD()
	s, err := Dial(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	raw, err := s.DialRaw(5)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"10.1.0.255": true, "127.255.255.255": true,
		"10.1.0.254": false, "10.1.0.7": false, "127.0.0.1": false, "192.0.2.1": false,
	} {
		if got := raw.Broadcast(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if err := raw.Close(); err != nil {
		t.Error(err)
	}
	if raw.Broadcast(netip.MustParseAddr("10.1.0.255")) {
		t.Error("a closed socket knows routes")
	}
	if err := raw.Send(make([]byte, 40), netip.MustParseAddr("10.1.0.7"), 0); err == nil {
		t.Error("a closed socket sends")
	}
}
