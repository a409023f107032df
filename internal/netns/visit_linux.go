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
	done := make(chan error)
	go func() { done <- visit(ns, f) }()
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

// visit runs f in the network namespace ns, on the thread of a goroutine
// that ends with it.
func visit(ns int, f func() error) error {
	// The thread is not unlocked, and so ends with this goroutine, unless it is
	// back where it belongs.
	runtime.LockOSThread()
	home, err := os.Open(OfThread)
	if err != nil {
		return err
	}
	defer home.Close()
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", os.NewSyscallError("setns", err))
	}
	err = f()
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}
