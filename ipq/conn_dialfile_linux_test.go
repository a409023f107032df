package ipq

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// netlinkFile returns a netlink socket in ns, which listens on no queue.
func netlinkFile(t *testing.T, ns *netlab.NS, protocol int) *os.File {
	t.Helper()
	var file *os.File
	if err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), "socket")
		return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// A socket that a program has made by itself becomes a Conn, in its own namespace, and
// polls.
func TestKernelDialFile(t *testing.T) {
	ns := labtest.New(t)
	u := newUDPPath(t, ns, "127.0.0.1")
	file := netlinkFile(t, ns, unix.NETLINK_NETFILTER)
	c, err := DialFile(Config{Queue: fakeNumber, GatherFor: time.Hour}, file)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	u.send("text")
	readable := 0
	if err := raw.Control(func(fd uintptr) {
		readable, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
	}); err != nil || readable != 1 {
		t.Errorf("poll: %d, %v", readable, err)
	}
	p, err := c.Read(-1)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Decide(p, Accept); err != nil {
		t.Error(err)
	}
	if err := c.Flush(); err != nil {
		t.Error(err)
	}
	if got := u.receive(); got != "text" {
		t.Errorf("%q arrived", got)
	}

	// The queue has a listener now: this socket, for another one and for itself.
	for _, f := range []*os.File{file, netlinkFile(t, ns, unix.NETLINK_NETFILTER)} {
		if c, err := DialFile(Config{Queue: fakeNumber}, f); !errors.As(err, new(*TakenError)) {
			t.Errorf("a queue that is taken: %v, %v", c, err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.SyscallConn(); !errors.Is(err, ErrClosed) {
		t.Errorf("SyscallConn after Close: %v", err)
	}
	// While the file is open, so is the queue.
	if c, err := DialFile(Config{Queue: fakeNumber}, file); !errors.As(err, new(*TakenError)) {
		t.Errorf("after Close: %v, %v", c, err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	c, err = DialFile(Config{Queue: fakeNumber}, netlinkFile(t, ns, unix.NETLINK_NETFILTER))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// What is no netlink socket for netfilter is refused.
func TestKernelDialFileRefuses(t *testing.T) {
	ns := labtest.New(t)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, f := range []*os.File{null, netlinkFile(t, ns, unix.NETLINK_ROUTE)} {
		c, err := DialFile(Config{Queue: fakeNumber}, f)
		var op *OpError
		if !errors.As(err, &op) || op.Op != "adopt" {
			t.Errorf("%v, %v", c, err)
		}
	}
	if _, err := DialFile(Config{Queues: 2}, null); !errors.Is(err, ErrConfig) {
		t.Errorf("two queues: %v", err)
	}
}

// The receive buffer changes while packets are received.
func TestSetReadBuffer(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{ReadBuffer: 10_000})
	if n, err := c.SetReadBuffer(20_000); err != nil || n < 20_000 || n != c.sock.ReadBuffer() {
		t.Errorf("Conn: %d, %v", n, err)
	}
	for _, n := range []int{0, -1} {
		if _, err := c.SetReadBuffer(n); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	c.Close()
	if _, err := c.SetReadBuffer(20_000); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}

	q, kernels := openTwo(t, Config{ReadBuffer: 10_000})
	cancel, done := startRun(q, accept)
	kernels[0].verdict(kernels[0].queue(fakekernel.Packet{Payload: udp4(1, nil)}))
	for _, size := range []int{30_000, 40_000} {
		if n, err := q.SetReadBuffer(size); err != nil || n < size {
			t.Errorf("Queue: %d, %v", n, err)
		}
	}
	for _, s := range q.Stats().Queues {
		if s.ReadBuffer < 40_000 {
			t.Errorf("Stats: %+v", s)
		}
	}
	cancel()
	if err := endOf(t, done); err != nil {
		t.Error(err)
	}
	q.Close()
	if _, err := q.SetReadBuffer(30_000); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
