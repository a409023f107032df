package main

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// userTick is the unit of /proc/stat: USER_HZ is 100 on all architectures that
// Go has for Linux.
const userTick = 10 * time.Millisecond

// readMachineCPU returns what all CPUs have done since the start of the machine,
// or zero where /proc/stat cannot be read.
func readMachineCPU() machineCPU {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineCPU{}
	}
	return parseMachineCPU(text)
}

// parseMachineCPU reads the first line of /proc/stat: cpu, user, nice, system,
// idle, iowait, irq, softirq, steal, and guests, which are in user.
func parseMachineCPU(text []byte) machineCPU {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return machineCPU{}
	}
	at := func(i int) time.Duration {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return 0
		}
		return time.Duration(n) * userTick
	}
	return machineCPU{
		User:    at(1) + at(2),
		System:  at(3),
		Idle:    at(4) + at(5),
		SoftIRQ: at(6) + at(7),
		Steal:   at(8),
	}
}
