//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/peers"
	"golang.org/x/sys/unix"
)

// Figures are what a contestant reports at its end.
type figures struct {
	Total uint64 `json:"total"` // packets decided, or sent
}

// A sample is the state of a contestant at one moment. It is taken from
// outside: a program that has too much to do would be late in taking its own.
type sample struct {
	at      time.Time
	packets uint64 // decided so far
	cpu     time.Duration
}

// between is the round that two samples enclose.
func between(begin, end sample) peers.Round {
	return peers.Round{
		Window:  end.at.Sub(begin.at),
		Packets: end.packets - begin.packets,
		CPU:     end.cpu - begin.cpu,
	}
}

// perSecond is n in the round's window as a rate.
func perSecond(r peers.Round, n uint64) float64 {
	if r.Window <= 0 {
		return 0
	}
	return float64(n) / r.Window.Seconds()
}

// sample takes one, with the kernel's count of what was decided in the
// namespace: of the packets that have an id, those that the socket had room for
// and that do not wait.
func (r *running) sample(ns *netlab.NS) (s sample, err error) {
	stats, err := ns.QueueStats()
	for _, q := range stats {
		s.packets += uint64(q.IDSequence - q.UserDropped - q.Waiting)
	}
	s.at, s.cpu = time.Now(), r.processCPU()
	return s, err
}

// processCPU reads the CPU clock of the process (clock_getcpuclockid(3): the
// inverted pid above three bits that choose the scheduler's clock), zero if it
// has ended.
func (r *running) processCPU() time.Duration {
	const cpuclockSched = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if unix.ClockGettime(^int32(r.cmd.Process.Pid)<<3|cpuclockSched, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// A running contestant.
type running struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// start runs c in a namespace, on these CPUs, until it is ready.
func (c contestant) start(dir string, s setup, ns *netlab.NS, cpus []int) (*running, error) {
	cmd, err := c.command(dir, s)
	if err != nil {
		return nil, err
	}
	r := &running{name: c.name, cmd: cmd}
	cmd.Stderr = &r.stderr
	if r.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.stdout = bufio.NewReader(stdout)
	if err := ns.Do(func() error { return startOn(cpus, cmd) }); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	line, err := r.stdout.ReadString('\n')
	if line != "ready\n" {
		r.kill()
		return nil, fmt.Errorf("start %s: it says %q (%v): %s", c.name, line, err, r.said())
	}
	return r, nil
}

// startOn starts cmd on some CPUs: a process inherits the affinity of the thread
// that starts it, so a Go runtime sees no others, as under taskset(1). The
// caller is locked to its thread.
func startOn(cpus []int, cmd *exec.Cmd) error {
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPUs %v: %w", cpus, err)
	}
	defer unix.SchedSetaffinity(0, &before)
	return cmd.Start()
}

// finish ends the process and returns its figures.
func (r *running) finish() (figures, error) {
	var f figures
	r.cmd.Process.Signal(unix.SIGTERM)
	err := json.NewDecoder(r.stdout).Decode(&f)
	r.stdin.Close()
	if waitErr := r.cmd.Wait(); err == nil {
		err = waitErr
	}
	if err != nil {
		return f, fmt.Errorf("%s: %w: %s", r.name, err, r.said())
	}
	return f, nil
}

// said is what the process has written about its troubles, in brief. It has
// ended by then.
func (r *running) said() string {
	const brief = 300
	s := strings.TrimSpace(r.stderr.String())
	if len(s) > brief {
		s = s[:brief] + "..."
	}
	return s
}

func (r *running) kill() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}
