package flood

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// exitSentinels are the child's exit statuses for the errors that callers tell
// apart. They lie outside those that the Go runtime uses.
var exitSentinels = map[int]error{
	80: ErrConfig,
	81: ErrNotPrivate,
}

// Main runs the flood and exits if Start made this process; otherwise it
// returns at once. It must come first in main or TestMain.
func Main() {
	mark := os.Getenv(childEnv)
	if mark == "" {
		return
	}
	err := runChild(mark)
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, err)
	for code, sentinel := range exitSentinels {
		if errors.Is(err, sentinel) {
			os.Exit(code)
		}
	}
	os.Exit(1)
}

func runChild(mark string) error {
	var cfg Config
	if err := json.Unmarshal([]byte(mark), &cfg); err != nil {
		return fmt.Errorf("flood: %s: %w", childEnv, err)
	}
	if err := checkPrivate(); err != nil {
		return err
	}
	// A service manager signals every process: it is the parent whose end ends
	// the flood, after it has taken the figures.
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGTERM)
	// The loop owns its thread: timer slack belongs to a thread.
	runtime.LockOSThread()
	if err := pin(cfg.CPUs); err != nil {
		return err
	}
	counters, _, err := mapCounters(countersFD, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return err
	}
	run := uint16(os.Getpid())
	fd, err := openSocket(cfg, run)
	if err != nil {
		return err
	}
	s := newSender(cfg, fd, run, counters)
	if _, err := os.Stdout.WriteString(readyLine); err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	go stopAtEOF(&s.stop)
	return s.run()
}

// stopAtEOF sets stop when the parent closes our standard input or dies.
func stopAtEOF(stop *atomic.Bool) {
	io.Copy(io.Discard, os.Stdin)
	stop.Store(true)
}

// pin binds every thread of this process to cpus. Threads made later inherit it.
func pin(cpus []int) error {
	if len(cpus) == 0 {
		return nil
	}
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("flood: pin to CPUs %v: %w", cpus, err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			return fmt.Errorf("flood: pin to CPUs %v: %w", cpus, err)
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("%w: pin to CPUs %v: %w", ErrConfig, cpus, err)
		}
	}
	return nil
}
