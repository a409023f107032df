package netlab_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func inode(t *testing.T, ns *netlab.NS) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(ns.FD(), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func threadInode(t *testing.T) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// traces lists the threads and files of this process that are in, or refer to,
// the namespace.
func traces(t *testing.T, ino uint64) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/proc/self/task/*/ns/net", "/proc/self/fd/*"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			// A thread or file may be gone since the listing.
			if to, err := os.Readlink(name); err == nil && to == fmt.Sprintf("net:[%d]", ino) {
				found = append(found, name)
			}
		}
	}
	return found
}

func TestDoRunsInsideAndComesHome(t *testing.T) {
	ns := labtest.New(t)
	want, home := inode(t, ns), threadInode(t)
	if want == home {
		t.Fatal("New returned the namespace that we are in")
	}
	sentinel := errors.New("sentinel")
	err := ns.Do(func() error {
		if got := threadInode(t); got != want {
			t.Errorf("f runs in namespace %d, want %d", got, want)
		}
		return sentinel
	})
	if err != sentinel {
		t.Errorf("Do returned %v, want f's error", err)
	}
	// The one trace left is the descriptor: every thread is home.
	if got := traces(t, want); len(got) != 1 {
		t.Errorf("after Do the namespace is held by %v, want one file", got)
	}
}

func TestDoNests(t *testing.T) {
	outer, inner := labtest.New(t), labtest.New(t)
	err := outer.Do(func() error {
		err := inner.Do(func() error {
			if got, want := threadInode(t), inode(t, inner); got != want {
				t.Errorf("inner f in namespace %d, want %d", got, want)
			}
			return nil
		})
		if got, want := threadInode(t), inode(t, outer); got != want {
			t.Errorf("outer f in namespace %d after the inner, want %d", got, want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Do must not take the main thread along, which /proc/self speaks for. Enough
// goroutines that hold a thread each make the main thread the one left over.
func TestDoSparesTheMainThread(t *testing.T) {
	ns := labtest.New(t)
	const goroutines = 64
	type visit struct {
		tid int
		err error
	}
	visits := make(chan visit)
	release := make(chan struct{})
	for range goroutines {
		go func() {
			err := ns.Do(func() error {
				visits <- visit{tid: unix.Gettid()}
				<-release
				return nil
			})
			visits <- visit{err: err}
		}()
	}
	for range goroutines {
		if v := <-visits; v.err != nil {
			t.Error(v.err)
		} else if v.tid == unix.Getpid() {
			t.Error("f ran on the main thread")
		}
	}
	close(release)
	for range goroutines {
		if v := <-visits; v.err != nil {
			t.Error(v.err)
		}
	}
}

func TestDoPassesGoexitOn(t *testing.T) {
	ns := labtest.New(t)
	ended := make(chan bool)
	go func() {
		returned := false
		defer func() { ended <- !returned }()
		ns.Do(func() error {
			runtime.Goexit()
			return nil
		})
		returned = true
	}()
	if !<-ended {
		t.Error("Do returned after f ended its goroutine")
	}
	if got := traces(t, inode(t, ns)); len(got) != 1 {
		t.Errorf("the namespace is held by %v, want one file", got)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	labtest.Need(t)
	ns, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	ino := inode(t, ns)
	if err := ns.Do(func() error { return nil }); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := traces(t, ino); len(got) != 0 {
		t.Errorf("after Close the namespace is held by %v", got)
	}
	if err := ns.Do(func() error { return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Do after Close: %v, want os.ErrClosed", err)
	}
	if fd := ns.FD(); fd != -1 {
		t.Errorf("FD after Close: %d, want -1", fd)
	}
}

func TestSysctlStaysInside(t *testing.T) {
	a, b := labtest.New(t), labtest.New(t)
	read := func(ns *netlab.NS) (value string) {
		err := ns.Do(func() error {
			b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
			value = strings.TrimSpace(string(b))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	for _, want := range []string{"1", "0"} {
		before := read(b)
		if err := a.Sysctl("net.ipv4.ip_forward", want); err != nil {
			t.Fatal(err)
		}
		if got := read(a); got != want {
			t.Errorf("ip_forward is %s, want %s", got, want)
		}
		if got := read(b); got != before {
			t.Errorf("ip_forward of another namespace went from %s to %s", before, got)
		}
	}
}

func TestSysctlRefusesTheMachines(t *testing.T) {
	ns := labtest.New(t)
	// No such parameters exist, lest a failure set one.
	for _, name := range []string{"kernel.none", "net", "net/../kernel/none", "/proc/sys/net/none", "net...none"} {
		if err := ns.Sysctl(name, "0"); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("Sysctl(%q): %v, want os.ErrInvalid", name, err)
		}
	}
}
