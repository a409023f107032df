package ipq

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A pin keeps a receive loop on a CPU, and on a thread of its own.
//
// There it does not park in the runtime's poller, but waits for its socket in
// poll(2): a goroutine that is locked to its thread and parks hands its
// processor to another thread, and gets it back from a third that polls, which
// is two switches more for each wake-up than the kernel needs.
//
// When waits are short, it first lets others run on its CPU. If packets come
// from a thread there, every one of them would interrupt that thread for the
// loop to receive just it, and two switches cost more than several packets.
type pin struct {
	cpu   int
	wake  *os.File // an eventfd that ends a wait
	fds   [2]unix.PollFd
	ended time.Duration // when the last wait did
}

// shortWait is how soon after a wait the next one counts as short: 20,000
// wake-ups a second.
const shortWait = 50 * time.Microsecond

// newPins returns a pin for each receive loop, or nils when they are not to be
// pinned.
func newPins(cfg *Config) ([]*pin, error) {
	pins := make([]*pin, cfg.Queues)
	if !cfg.PinCPU {
		return pins, nil
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	if n := set.Count(); n < cfg.Queues {
		return nil, fmt.Errorf("ipq: Config.PinCPU: %d queues, but only %d CPUs that this process may use", cfg.Queues, n)
	}
	cpu := 0
	for i := range pins {
		for !set.IsSet(cpu) {
			cpu++
		}
		pins[i] = &pin{cpu: cpu}
		cpu++
	}
	for _, p := range pins {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			closePins(pins)
			return nil, os.NewSyscallError("eventfd", err)
		}
		p.wake = os.NewFile(uintptr(fd), "wake")
		p.fds[1] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	}
	return pins, nil
}

func closePins(pins []*pin) {
	for _, p := range pins {
		p.close()
	}
}

func (p *pin) close() {
	if p != nil && p.wake != nil {
		p.wake.Close()
	}
}

// wait waits until the socket fd has something, or wakeUp was called.
func (p *pin) wait(fd int) error {
	if monotonic()-p.ended < shortWait {
		// On a CPU with nothing else to run this returns at once.
		_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
	p.fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	for {
		_, err := unix.Poll(p.fds[:], -1)
		if err != unix.EINTR {
			p.ended = monotonic()
			return os.NewSyscallError("poll", err)
		}
	}
}

// wakeUp ends wait for good.
func (p *pin) wakeUp() {
	// It can fail only when the file is closed, and nobody waits then.
	_, _ = p.wake.Write([]byte{0, 0, 0, 1, 1, 0, 0, 0}) // a valid number in either byte order
}

// lock ties the calling goroutine to its thread and that to the CPU, until
// unlock is called.
func (p *pin) lock() (unlock func(), err error) {
	runtime.LockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	set.Set(p.cpu)
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
