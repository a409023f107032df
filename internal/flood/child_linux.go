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
	var j job
	if err := json.Unmarshal([]byte(mark), &j); err != nil {
		return fmt.Errorf("flood: %s: %w", childEnv, err)
	}
	if err := checkPrivate(); err != nil {
		return err
	}
	// A service manager signals every process: it is the parent whose end ends
	// the flood, after it has taken the figures.
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGTERM)
	if err := pin(j.cpus()); err != nil {
		return err
	}
	memory, _, err := mapShared(countersFD, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return err
	}
	work, err := j.prepare(memory)
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(readyLine); err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	return work(parentEnd())
}

// prepare does what can fail, and returns what works until stopped closes.
func (j job) prepare(memory *shared) (work func(stopped <-chan struct{}) error, err error) {
	switch {
	case j.Server != nil:
		s, err := newService(*j.Server, &memory.counters)
		if err != nil {
			return nil, err
		}
		return s.run, nil
	case j.Client != nil:
		v := &visitor{cfg: *j.Client, c: &memory.counters, latency: &memory.latency}
		return v.run, nil
	case j.Receiver != nil:
		r, err := newReceiver(*j.Receiver, memory)
		if err != nil {
			return nil, err
		}
		return r.run, nil
	}
	// The loop owns its thread: timer slack belongs to a thread.
	runtime.LockOSThread()
	run := uint16(os.Getpid())
	fd, err := openSocket(*j.Flood, run)
	if err != nil {
		return nil, err
	}
	s := newSender(*j.Flood, fd, run, &memory.counters)
	return func(stopped <-chan struct{}) error {
		go func() {
			<-stopped
			s.stop.Store(true)
		}()
		return s.run()
	}, nil
}

// parentEnd returns a channel that closes when the parent closes our standard
// input or dies.
func parentEnd() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	return ended
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
