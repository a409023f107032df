package netlab

import (
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// threadNS is the network namespace of the calling thread.
const threadNS = "/proc/thread-self/ns/net"

// New makes a private network namespace with the loopback link up. Close it
// when done. It needs the rights that Enter provides; without them the error
// matches [ErrUnavailable].
func New() (*NS, error) {
	if !hasCaps(unix.CAP_SYS_ADMIN) {
		return nil, fmt.Errorf("netlab: %w: no CAP_SYS_ADMIN: call netlab.Enter first, or run as root", ErrUnavailable)
	}
	n := &NS{fd: -1}
	unshare := func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return unavailable("make a network namespace", os.NewSyscallError("unshare", err), false)
		}
		return nil
	}
	err := visit(unshare, func() (err error) {
		if err := loopbackUp(); err != nil {
			return err
		}
		n.fd, err = openNS(threadNS)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Current returns the private namespace that this process runs in. Close
// releases the handle and leaves the namespace alone. Outside one, it returns
// [ErrNotInside].
func Current() (*NS, error) {
	if !Inside() {
		return nil, ErrNotInside
	}
	// The main thread's: visit never takes it elsewhere.
	fd, err := openNS("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	return &NS{fd: fd}, nil
}

func openNS(name string) (int, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("netlab: %w", &os.PathError{Op: "open", Path: name, Err: err})
	}
	return fd, nil
}

// Close releases the file descriptor. The namespace goes, with its links and
// rules, when no thread or socket is left in it. A second Close does nothing.
func (n *NS) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return nil
	}
	err := unix.Close(n.fd)
	n.fd = -1
	return os.NewSyscallError("close", err)
}

// Do runs f on a thread inside the namespace, waits for it and returns its
// error. Goroutines that f starts are not inside, so dial literal addresses: a
// lookup, or a dial that tries several addresses, starts some. Processes that f
// starts are inside, and so are the sockets it opens, wherever they are used
// later. f may end its goroutine, as t.FailNow does; then Do ends the caller's.
// A panic in f cannot be recovered by the caller.
func (n *NS) Do(f func() error) error {
	return visit(n.join, f)
}

// join moves the calling thread into the namespace.
func (n *NS) join() error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.fd < 0 {
		return fmt.Errorf("netlab: enter a closed namespace: %w", os.ErrClosed)
	}
	if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("netlab: enter namespace: %w", os.NewSyscallError("setns", err))
	}
	return nil
}

// visit runs f on a thread of its own that move has taken to another network
// namespace, and brings the thread home.
func visit(move, f func() error) error {
	return onThread(func() error {
		home, err := openNS(threadNS)
		if err != nil {
			return err
		}
		defer unix.Close(home)
		if err := move(); err != nil {
			return err
		}
		defer func() {
			if unix.Setns(home, unix.CLONE_NEWNET) != nil {
				// The thread cannot go home, so Go must not use it again:
				// one more lock than onThread undoes, and it dies with
				// its goroutine.
				runtime.LockOSThread()
			}
		}()
		return f()
	})
}

// onThread runs f in a goroutine locked to a thread other than the main one:
// Go cannot let that one die, and /proc/self speaks of its namespace.
func onThread(f func() error) error {
	var err error
	returned := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if unix.Gettid() == unix.Getpid() {
			err = onThread(f) // the main thread is taken by now
		} else {
			err = f()
		}
		returned = true
	}()
	<-done
	if !returned {
		runtime.Goexit()
	}
	return err
}

// Sysctl sets a kernel parameter of the namespace, by its name in dots
// ("net.ipv4.ip_forward") or, for links with a dot in theirs, in slashes. Only
// names that begin with net are the namespace's, so others are refused.
func (n *NS) Sysctl(name, value string) error {
	key := name
	if !strings.Contains(key, "/") {
		key = strings.ReplaceAll(key, ".", "/")
	}
	if !strings.HasPrefix(key, "net/") || path.Clean(key) != key {
		return fmt.Errorf("netlab: sysctl %q is not a parameter of a network namespace: %w", name, os.ErrInvalid)
	}
	return n.Do(func() error {
		// Unlike os.WriteFile, never creates.
		f, err := os.OpenFile("/proc/sys/"+key, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("netlab: sysctl %s: %w", name, err)
		}
		defer f.Close()
		if _, err := f.WriteString(value); err != nil {
			return fmt.Errorf("netlab: sysctl %s=%s: %w", name, value, err)
		}
		return nil
	})
}
