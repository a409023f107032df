//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// startHog keeps a CPU busy until stop is called. It is one thread, as a
// contestant is most of the time, so the scheduler gives each about half.
func startHog(cpu int) (stop func()) {
	var done atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// Not unlocked: the thread ends with its affinity.
		runtime.LockOSThread()
		var one unix.CPUSet
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			fmt.Fprintln(os.Stderr, "peers: share a CPU:", err)
			return
		}
		for !done.Load() {
		}
	}()
	return func() {
		done.Store(true)
		<-ended
	}
}
