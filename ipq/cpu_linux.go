package ipq

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// loopCPUs returns a CPU for each receive loop, or nil when they are not to be
// pinned.
func loopCPUs(cfg *Config) ([]int, error) {
	if !cfg.PinCPU {
		return nil, nil
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	if len(cpus) < cfg.Queues {
		return nil, fmt.Errorf("ipq: Config.PinCPU: %d queues, but only %d CPUs that this process may use", cfg.Queues, len(cpus))
	}
	return cpus, nil
}

// pinThread locks the calling goroutine to its thread and that to a CPU, until
// unpin is called.
func pinThread(cpu int) (unpin func(), err error) {
	runtime.LockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	set.Set(cpu)
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
