package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/bench/report"
)

// inheritable returns a descriptor of the listener that programs started by this one
// have, too, above the few that netlab.Enter uses.
func inheritable(ln *net.TCPListener) (fd int, err error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD, 10) })
	return fd, errors.Join(controlErr, err)
}

// keepTo moves every thread of this process to cpus; later ones inherit it.
func keepTo(cpus []int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	// A thread that has not been moved yet may start another: look until there is no
	// new one.
	moved := make(map[string]bool)
	for fresh := true; fresh; {
		fresh = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("keep the consumer to CPUs %v: %w", cpus, err)
		}
		for _, task := range tasks {
			if moved[task.Name()] {
				continue
			}
			moved[task.Name()], fresh = true, true
			tid, err := strconv.Atoi(task.Name())
			if err == nil {
				err = unix.SchedSetaffinity(tid, &set)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
				return fmt.Errorf("keep the consumer to CPUs %v: %w", cpus, err)
			}
		}
	}
	return nil
}

// processCPU returns the CPU time of all threads of this process.
func processCPU() (user, system time.Duration) {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return 0, 0 // fails only with a bad address
	}
	return time.Duration(ru.Utime.Nano()), time.Duration(ru.Stime.Nano())
}

// residentMemory returns how many bytes of memory this process has in use: the second
// field of statm, in pages. It is exact since Linux 6.2. Before, each thread keeps
// some dozen pages to itself until it counts them.
func residentMemory() (uint64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var size, resident uint64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0, fmt.Errorf("/proc/self/statm: %w", err)
	}
	return resident * uint64(os.Getpagesize()), nil
}

// openDescriptors counts the descriptors of this process, without the one that the
// counting itself takes.
func openDescriptors() (int, error) {
	all, err := os.ReadDir("/proc/self/fd")
	return len(all) - 1, err
}

// kernelRelease returns what uname -r prints.
func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "" // fails only with a bad address
	}
	return unix.ByteSliceToString(u.Release[:])
}

// cpuModel returns the first CPU's name, or "" where the architecture has none
// in /proc/cpuinfo.
func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(info) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(name)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// userTick is the unit of /proc/stat: USER_HZ is 100 on all architectures that
// Go has for Linux.
const userTick = 10 * time.Millisecond

// readMachineCPU returns what all CPUs have done since the start of the machine,
// or zero where /proc/stat cannot be read.
func readMachineCPU() report.MachineCPU {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return report.MachineCPU{}
	}
	return parseMachineCPU(text)
}

// parseMachineCPU reads the first line of /proc/stat: cpu, user, nice, system,
// idle, iowait, irq, softirq, steal, and guests, which are in user.
func parseMachineCPU(text []byte) report.MachineCPU {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return report.MachineCPU{}
	}
	at := func(i int) time.Duration {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return 0
		}
		return time.Duration(n) * userTick
	}
	return report.MachineCPU{
		User:    at(1) + at(2),
		System:  at(3),
		Idle:    at(4) + at(5),
		SoftIRQ: at(6) + at(7),
		Steal:   at(8),
	}
}
