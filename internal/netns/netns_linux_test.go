package netns

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const own = "/proc/thread-self/ns/net"

func open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A duplicate outlives what it was made of, and is of the same namespace.
func TestDup(t *testing.T) {
	f, again := open(t, own), open(t, own)
	dup, err := Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer dup.Close()
	f.Close()
	if same, err := Same(int(dup.Fd()), int(again.Fd())); !same || err != nil {
		t.Errorf("the duplicate is of another namespace: %v", err)
	}
	if flags, err := unix.FcntlInt(dup.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("programs that are started inherit the duplicate: flags %#x, %v", flags, err)
	}
}

// What is no network namespace is told from one that is.
func TestDupOfSomethingElse(t *testing.T) {
	closed := open(t, own)
	number := int(closed.Fd())
	closed.Close()
	if f, err := Dup(number); f != nil || !errors.Is(err, syscall.EBADF) || errors.Is(err, ErrNotNetNS) {
		t.Errorf("a closed descriptor: %v", err)
	}
	if f, err := Dup(-1); f != nil || !errors.Is(err, syscall.EBADF) {
		t.Errorf("-1: %v", err)
	}
	for _, name := range []string{os.DevNull, ".", "/proc/thread-self/ns/mnt", "/proc/thread-self/ns/user"} {
		before := numberOf(t)
		if f, err := Dup(int(open(t, name).Fd())); f != nil || !errors.Is(err, ErrNotNetNS) || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
		// What was opened here. The garbage collector may close others' meanwhile.
		if after := numberOf(t); after > before+1 {
			t.Errorf("%s: %d descriptors, %d before", name, after, before)
		}
	}
}

// numberOf returns how many descriptors are open.
func numberOf(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// A socket tells the namespace that it is of.
func TestOfSocket(t *testing.T) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ns, err := OfSocket(fd)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("no CAP_NET_ADMIN")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if same, err := Same(int(ns.Fd()), int(open(t, own).Fd())); !same || err != nil {
		t.Errorf("a socket's namespace is another one: %v", err)
	}
	dup, err := Dup(int(ns.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	dup.Close()
	if ns, err := OfSocket(int(open(t, os.DevNull).Fd())); ns != nil || err == nil {
		t.Error("a device has a network namespace")
	}
	if _, err := Same(fd, -1); err == nil {
		t.Error("what is not open is the same as something")
	}
}
