//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// A consumer is one way to decide the packets of a queue. It runs as a process
// of its own that binds the queue, writes "ready\n", accepts every packet,
// measures from SIGUSR1 to SIGUSR2, and on SIGTERM writes figures as JSON and
// exits. It also exits when its standard input ends: the parent has died.
type consumer struct {
	name   string
	queues int // consecutive queues that it binds
	// command is the process to run; dir is for programs that must be built.
	command func(dir string, s setup) (*exec.Cmd, error)
}

// consumers are all that can be named with -consumers, in the order of the
// default run. Those written in Go come from goConsumer.
var consumers = []consumer{floor, goNFQueue, goipqInline, goipqPool}

// A setup is what every consumer is told.
type setup struct {
	Queue      uint16 // number of the first queue
	MaxLen     int    // packets the kernel may hold (NFQA_CFG_QUEUE_MAXLEN)
	ReadBuffer int    // bytes of socket buffer, as the kernel accounts them
}

// Figures are what a consumer reports.
type figures struct {
	Total    uint64 `json:"total"`     // packets decided from start to end
	Packets  uint64 `json:"packets"`   // packets decided in the measured time
	Nanos    uint64 `json:"nanos"`     // the measured time
	CPUNanos uint64 `json:"cpu_nanos"` // CPU time of the process in the measured time
}

func (f figures) rate() float64         { return float64(f.Packets) / float64(f.Nanos) * 1e9 }
func (f figures) cpuPerPacket() float64 { return float64(f.CPUNanos) / float64(f.Packets) }

// A running consumer.
type running struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// start runs c, bound to cpu, until it is ready.
func (c consumer) start(dir string, s setup, cpu int) (*running, error) {
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
	if err := startOn(cpu, cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	line, err := r.stdout.ReadString('\n')
	if line != "ready\n" {
		r.kill()
		return nil, fmt.Errorf("start %s: it says %q (%v): %s", c.name, line, err, r.said())
	}
	return r, nil
}

// startOn starts cmd on one CPU: a process inherits the affinity of the thread
// that starts it, so a Go runtime sees one CPU, as under taskset(1). The caller
// is locked to its thread.
func startOn(cpu int, cmd *exec.Cmd) error {
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
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
	if err == nil && f.Packets == 0 {
		err = errors.New("no packet decided in the measured time: has another program its CPU?")
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

// consumerEnv marks a process that goConsumer makes; it holds the setup.
const consumerEnv = "GOIPQ_PEERS_CONSUMER"

// goConsumer is a consumer within this program: body binds the queue, calls
// ready once it has, counts its packets with m, and returns when m.done is
// closed.
func goConsumer(name string, queues int, body func(s setup, m *meter) error) consumer {
	goBodies[name] = body
	return consumer{name: name, queues: queues, command: func(_ string, s setup) (*exec.Cmd, error) {
		mark, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		cmd := exec.Command("/proc/self/exe", name)
		cmd.Env = append(os.Environ(), consumerEnv+"="+string(mark))
		return cmd, nil
	}}
}

var goBodies = make(map[string]func(setup, *meter) error)

// runGoConsumer does not return in a process that goConsumer made.
func runGoConsumer() {
	mark := os.Getenv(consumerEnv)
	if mark == "" {
		return
	}
	var s setup
	err := json.Unmarshal([]byte(mark), &s)
	if err == nil {
		m := newMeter()
		if err = goBodies[os.Args[1]](s, m); err == nil {
			err = m.report()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
