package machine

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A Pin keeps a receive loop on a CPU, and on a thread of its own.
//
// When waits are short, it lets others run on its CPU before the loop parks. If
// packets come from a thread there, every one of them would interrupt that thread
// for the loop to receive just it, and two switches cost more than several
// packets. If nothing else runs there, the loop gets another look.
//
// It parks in the runtime's poller like any other loop. To wait in poll(2)
// instead saves two switches between threads for a wake-up, but whoever is in a
// system call is watched by a thread of the runtime's, which then never sleeps,
// and its processor is handed on each time: that takes more than the switches.
type Pin struct{ CPU int }

// epoch is when this program started, as good as any for the waits of a Pin.
var epoch = time.Now()

// shortWait is how soon after a wake-up the next one is to come for waits to
// count as short: 20,000 wake-ups a second.
const shortWait = 50 * time.Microsecond

// Wakes returns the time of a wake-up, for Yields.
func (p *Pin) Wakes() time.Duration {
	if p == nil {
		return 0
	}
	return time.Since(epoch)
}

// Yields lets others run on the loop's CPU, unless it woke up long ago, and
// reports whether it did.
func (p *Pin) Yields(woke time.Duration) bool {
	if p == nil || time.Since(epoch)-woke >= shortWait {
		return false
	}
	// The runtime is not told: it would give the loop's processor to another
	// thread and be in its way when it comes back. To the runtime the thread is
	// one that the kernel has preempted.
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	return true
}

// Pins returns n pins, each to another of the CPUs that this process may use. Too few
// of them are a [*TooFewCPUs].
func Pins(n int) ([]*Pin, error) {
	pins := make([]*Pin, n)
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	if have := set.Count(); have < n {
		return nil, &TooFewCPUs{Want: n, Have: have}
	}
	cpu := 0
	for i := range pins {
		for !set.IsSet(cpu) {
			cpu++
		}
		pins[i] = &Pin{CPU: cpu}
		cpu++
	}
	return pins, nil
}

// Lock ties the calling goroutine to its thread and that to the CPU, until
// unlock is called.
func (p *Pin) Lock() (unlock func(), err error) {
	runtime.LockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	set.Set(p.CPU)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		runtime.UnlockOSThread()
		return nil, os.NewSyscallError("sched_setaffinity", err)
	}
	return func() {
		// A thread that stays pinned is not given back: it ends with its
		// goroutine.
		if unix.SchedSetaffinity(0, &before) == nil {
			runtime.UnlockOSThread()
		}
	}, nil
}
