package ipq

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/netns"
)

// lostNetNS returns the number of a descriptor of ns whose file nobody keeps.
func lostNetNS(t *testing.T, ns *netlab.NS) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	return int(f.Fd())
}

// isIn fails the test unless the socket with that descriptor belongs to ns.
func isIn(t *testing.T, socket int, ns *netlab.NS) {
	t.Helper()
	f, err := netns.OfSocket(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if same, err := netns.Same(int(f.Fd()), ns.FD()); !same || err != nil {
		t.Errorf("the socket belongs to another namespace: %v", err)
	}
}

// A namespace by a number whose file is collected meanwhile is the right one, or
// an error, and never the caller's.
func TestKernelNetNSOfACollectedFile(t *testing.T) {
	ns := labtest.New(t)
	var ended atomic.Bool
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for !ended.Load() {
			runtime.GC()
		}
	}()
	defer func() { ended.Store(true); <-collected }()
	check := func(q *Queue, err error) {
		t.Helper()
		switch {
		case err == nil:
			file := fileOf(t, q)
			defer file.Close()
			isIn(t, int(file.Fd()), ns)
		case !errors.Is(err, syscall.EBADF) && !errors.Is(err, netns.ErrNotNetNS):
			t.Error(err)
		}
	}
	for range 10 {
		q, err := Open(Config{Queue: fakeNumber, Workers: 2, NetNS: lostNetNS(t, ns)})
		if err != nil {
			check(nil, err)
			continue
		}
		check(q, nil)
		file, err := q.File(0)
		if err != nil {
			t.Fatal(err)
		}
		if next, err := FromFile(Config{Queue: fakeNumber, Workers: Inline, NetNS: lostNetNS(t, ns)}, file); err != nil {
			check(nil, err)
		} else {
			check(next, nil)
			next.Detach()
		}
		file.Close()
		q.Close()
		if c, err := Dial(Config{Queue: fakeNumber, BatchSize: 1024, NetNS: lostNetNS(t, ns)}); err != nil {
			check(nil, err)
		} else {
			isIn(t, c.sock.FD(), ns)
			c.Close()
		}
	}
}

// What is no network namespace is said to be none, and no queue is bound.
func TestKernelNetNSOfSomethingElse(t *testing.T) {
	ns := labtest.New(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	mnt, err := os.Open("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	defer mnt.Close()
	q, err := Open(Config{Queue: fakeNumber + 1, Workers: Inline, NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	file, err := q.File(0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for what, x := range map[string]struct {
		fd int
		is error
	}{
		"a device": {int(null.Fd()), netns.ErrNotNetNS}, "a mount namespace": {int(mnt.Fd()), netns.ErrNotNetNS},
		"a socket": {int(file.Fd()), netns.ErrNotNetNS}, "nothing": {1 << 20, syscall.EBADF},
	} {
		cfg := Config{Queue: fakeNumber, Workers: Inline, NetNS: x.fd}
		for by, open := range map[string]func() error{
			"Open":     func() error { _, err := Open(cfg); return err },
			"Dial":     func() error { _, err := Dial(cfg); return err },
			"FromFile": func() error { _, err := FromFile(cfg, file); return err },
		} {
			if err := open(); !errors.Is(err, x.is) || !errors.As(err, new(*OpError)) {
				t.Errorf("%s of %s: %v", by, what, err)
			}
		}
	}
}

// A socket is looked up where it belongs, wherever the process is: here another
// socket has the queue of that number.
func TestKernelFromFileInAnotherNamespace(t *testing.T) {
	ns, other := labtest.New(t), labtest.New(t)
	cfg := Config{Queue: fakeNumber, Workers: Inline}
	there, elsewhere := cfg, cfg
	there.NetNS, elsewhere.NetNS = ns.FD(), other.FD()
	q, err := Open(there)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	file, err := q.File(0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	adopt := func(what string) {
		t.Helper()
		next, err := FromFile(cfg, file)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer next.Detach()
		own := fileOf(t, next)
		defer own.Close()
		isIn(t, int(own.Fd()), ns)
		if _, err := ns.QueueStats(); err == nil && !next.Stats().KernelKnown {
			t.Errorf("%s: the kernel's counters are not known", what)
		}
	}
	adopt("no such queue where the process is")
	here, err := Open(cfg) // in the namespace that the test runs in, a private one
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	adopt("a queue of that number where the process is")
	if err := ns.Do(func() error { adopt("the thread is where the socket is"); return nil }); err != nil {
		t.Error(err)
	}
	if _, err := FromFile(elsewhere, file); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("Config.NetNS is another namespace than the socket's: %v", err)
	}
}

// A socket that does not listen on the queue is refused.
func TestKernelFromFileOfNoListener(t *testing.T) {
	ns := labtest.New(t)
	for what, bind := range map[string]bool{"bound to nothing": false, "a netlink socket without a queue": true} {
		var file *os.File
		if err := ns.Do(func() error {
			fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
			if err != nil {
				return err
			}
			file = os.NewFile(uintptr(fd), what)
			if bind {
				return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		fds := descriptors(t)
		if q, err := FromFile(Config{Queue: fakeNumber, Workers: Inline}, file); q != nil || !errors.Is(err, ErrUnbound) {
			t.Errorf("%s: %v", what, err)
		}
		settle(t, "descriptors", fds, func() int { return descriptors(t) })
		file.Close()
	}
}

// Opening a queue in another namespace leaves no thread there, and no
// descriptor anywhere once it is closed. Neither does an Open that fails.
func TestKernelNetNSLeavesNothingBehind(t *testing.T) {
	ns := labtest.New(t)
	inside := func() (n int) {
		tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
		if err != nil || len(tasks) == 0 {
			t.Fatalf("%d threads, %v", len(tasks), err)
		}
		var lab unix.Stat_t
		if err := unix.Fstat(ns.FD(), &lab); err != nil {
			t.Fatal(err)
		}
		for _, name := range tasks {
			var st unix.Stat_t
			if unix.Stat(name, &st) == nil && st.Ino == lab.Ino {
				n++
			}
		}
		return n
	}
	open := func() int { return descriptors(t) }
	fds := open()
	for range 5 {
		q, err := Open(Config{Queue: fakeNumber, Queues: 2, NetNS: ns.FD()})
		if err != nil {
			t.Fatal(err)
		}
		if taken, err := Open(Config{Queue: fakeNumber - 1, Queues: 2, NetNS: ns.FD()}); err == nil {
			t.Error("a taken queue was opened")
			taken.Close()
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		settle(t, "descriptors", fds, open)
	}
	settle(t, "threads in the namespace", 0, inside)

	// What is no namespace says so.
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var op *OpError
	if q, err := Open(Config{NetNS: int(file.Fd())}); q != nil || !errors.As(err, &op) || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Open in /dev/null: %v", err)
	}
	file.Close()
	settle(t, "descriptors", fds, open)
}
