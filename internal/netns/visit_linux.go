package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// OfThread is the file of the calling thread's network namespace.
const OfThread = "/proc/thread-self/ns/net"

// Visit runs f on a thread in the network namespace ns, or right here if ns
// is 0 or where the calling thread is: who is there already needs no right to go
// there.
func Visit(ns int, f func() error) error {
	if ns == 0 {
		return f()
	}
	if here, err := stay(ns, f); here {
		return err
	}
	return elsewhere(func() error {
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", os.NewSyscallError("setns", err))
		}
		return nil
	}, f)
}

// Private runs f on a thread in a network namespace that is made for it, and goes when
// the thread and all sockets in it have left. It takes CAP_SYS_ADMIN, which the calling
// thread must have; without, the error matches [syscall.EPERM].
func Private(f func() error) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // version 3 has two words
	if err := unix.Capget(&header, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	if data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return fmt.Errorf("make a network namespace: no CAP_SYS_ADMIN: %w", unix.EPERM)
	}
	return elsewhere(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", os.NewSyscallError("unshare", err))
		}
		return nil
	}, f)
}

// elsewhere runs f in the network namespace that move takes its thread to.
func elsewhere(move, f func() error) error {
	done := make(chan error)
	go func() { done <- visit(move, f) }()
	return <-done
}

// stay runs f if the calling thread is in the network namespace ns.
func stay(ns int, f func() error) (here bool, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open(OfThread)
	if err != nil {
		return false, err
	}
	defer home.Close()
	if here, err = Same(ns, int(home.Fd())); !here || err != nil {
		return false, err
	}
	return true, f()
}

// visit is elsewhere on the thread of a goroutine that ends with it.
func visit(move, f func() error) error {
	// The thread is not unlocked, and so ends with this goroutine, unless it is
	// back where it belongs.
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// /proc/self speaks of the main thread's namespace. It stays taken meanwhile.
		defer runtime.UnlockOSThread()
		return elsewhere(move, f)
	}
	home, err := os.Open(OfThread)
	if err != nil {
		return err
	}
	defer home.Close()
	if err := move(); err != nil {
		return err
	}
	err = f()
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}
