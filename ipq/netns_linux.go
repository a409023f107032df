package ipq

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNetNS runs f on a thread in the network namespace ns, or right here if ns
// is 0.
func inNetNS(ns int, f func() error) error {
	if ns == 0 {
		return f()
	}
	done := make(chan error)
	go func() { done <- visitNetNS(ns, f) }()
	return <-done
}

// visitNetNS runs f in the network namespace ns, on the thread of a goroutine
// that ends with it.
func visitNetNS(ns int, f func() error) error {
	// The thread is not unlocked, and so ends with this goroutine, unless it is
	// back where it belongs.
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns to the network namespace of descriptor %d: %w", ns, err)
	}
	err = f()
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}
