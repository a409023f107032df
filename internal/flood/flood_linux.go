package flood

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv marks the process that Start makes; it holds its job as JSON.
const childEnv = "GOIPQ_FLOOD"

// The child's file descriptors beyond the standard three, and what it writes
// once its socket stands.
const (
	countersFD = 3
	readyLine  = "ready\n"
)

var errNoMain = errors.New("flood: the program must call flood.Main first thing in main or TestMain")

// A Flood is a running child process. Its methods may be called from any
// goroutine.
type Flood struct {
	ctx   context.Context
	cmd   *exec.Cmd
	stdin io.Closer // closing it asks the child to end
	done  chan struct{}
	err   error // valid once done is closed

	mu    sync.Mutex
	live  *shared // nil once the child has ended
	unmap func() error
	final Stats
	times []LatencyCount // the last ones
}

// Start floods the loopback interface of the calling thread's network
// namespace until cfg.Count requests are sent, Stop is called or ctx ends. It
// returns when the child is about to send its first packet.
//
// The error wraps ErrConfig or ErrNotPrivate where one applies. The caller
// must call Stop or Wait.
func Start(ctx context.Context, cfg Config) (*Flood, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return start(ctx, job{Flood: &cfg})
}

// start runs a child for a job.
func start(ctx context.Context, j job) (*Flood, error) {
	if os.Getenv(childEnv) != "" {
		// This is a child already: starting another would never end.
		return nil, errNoMain
	}
	mark, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("flood: %w", err)
	}
	memory, err := newSharedFile()
	if err != nil {
		return nil, err
	}
	defer memory.Close()
	live, unmap, err := mapShared(int(memory.Fd()), unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return nil, err
	}
	f := &Flood{ctx: ctx, live: live, unmap: unmap, done: make(chan struct{})}
	err = f.start(string(mark), memory)
	for n := 0; err != nil && f.stillborn() && n < maxStillborn; n++ {
		err = f.start(string(mark), memory)
	}
	if err != nil {
		unmap()
		return nil, err
	}
	return f, nil
}

// maxStillborn is how often a signal to the process group may hit a child
// before it has left the group: there is a moment for it between fork and exec.
const maxStillborn = 5

// stillborn reports whether the child was killed by a signal that a program is
// told to end by, and that was not meant for the child.
func (f *Flood) stillborn() bool {
	if f.ctx.Err() != nil || f.cmd.ProcessState == nil {
		return false
	}
	status, ok := f.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return false
	}
	sig := status.Signal()
	return sig == syscall.SIGINT || sig == syscall.SIGHUP || sig == syscall.SIGTERM
}

// start runs the child and waits until it is ready.
func (f *Flood) start(mark string, memory *os.File) error {
	var stderr bytes.Buffer
	f.cmd = exec.CommandContext(f.ctx, "/proc/self/exe")
	// Under -race a process sleeps for a second before it exits, for reports
	// from threads that still run; the child's loop has ended by then.
	race := "GORACE=" + os.Getenv("GORACE") + " atexit_sleep_ms=0"
	f.cmd.Env = append(os.Environ(), childEnv+"="+mark, race)
	f.cmd.ExtraFiles = []*os.File{memory}
	f.cmd.Stderr = &stderr
	// Out of reach of ^C and of timeout(1), which signal a process group: the
	// parent decides when the flood ends.
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := f.cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	f.stdin = stdin
	stdout, err := f.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	if err := f.cmd.Start(); err != nil {
		return fmt.Errorf("flood: start %s: %w", f.cmd.Path, err)
	}
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	if line == readyLine {
		go f.wait(&stderr)
		return nil
	}
	f.stdin.Close()
	if line != "" {
		// Without a call to Main the child is a second run of the program.
		f.cmd.Process.Kill()
		f.cmd.Wait()
		return fmt.Errorf("%w: the child said %q", errNoMain, line)
	}
	return f.ended(f.cmd.Wait(), &stderr)
}

// wait reaps the child and keeps its last figures.
func (f *Flood) wait(stderr *bytes.Buffer) {
	err := f.cmd.Wait()
	if err != nil {
		f.err = f.ended(err, stderr)
	}
	f.mu.Lock()
	f.final = f.live.stats()
	f.times = f.live.latency.snapshot()
	f.final.UserCPU = f.cmd.ProcessState.UserTime()
	f.final.CPU = f.final.UserCPU + f.cmd.ProcessState.SystemTime()
	f.live = nil
	f.unmap()
	f.mu.Unlock()
	close(f.done)
}

// ended explains why the child ended with err.
func (f *Flood) ended(err error, stderr *bytes.Buffer) error {
	if f.ctx.Err() != nil {
		return fmt.Errorf("flood: %w", context.Cause(f.ctx))
	}
	said := strings.TrimSpace(stderr.String())
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		for code, sentinel := range exitSentinels {
			if exit.ExitCode() == code {
				return fmt.Errorf("%w%s", sentinel, strings.TrimPrefix(said, sentinel.Error()))
			}
		}
	}
	if err == nil {
		return errNoMain
	}
	if said == "" {
		return fmt.Errorf("flood: child: %w", err)
	}
	return fmt.Errorf("%s (%w)", said, err)
}

// Stats returns the figures up to now, or the last ones after the end. It
// costs some system calls while the child runs.
func (f *Flood) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live == nil {
		return f.final
	}
	s := f.live.stats()
	s.CPU = processCPU(f.cmd.Process.Pid)
	s.UserCPU = min(userCPU(f.cmd.Process.Pid), s.CPU)
	return s
}

// TakeMaxLag returns Stats.MaxLag, which then begins anew, so that a part of the time
// can be looked at by itself.
func (f *Flood) TakeMaxLag() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live == nil {
		return f.final.MaxLag
	}
	return time.Duration(f.live.maxLagNanos.Swap(0))
}

// Latencies returns the times of all connections of a churn up to now, or up to
// the end: each from its beginning, or when it was due, until the server has
// answered and closed it.
func (f *Flood) Latencies() []LatencyCount {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live == nil {
		return f.times
	}
	return f.live.latency.snapshot()
}

// processCPU reads the CPU clock of a process (clock_getcpuclockid(3): the
// inverted pid above three bits that choose the scheduler's clock), zero if it
// has just ended.
func processCPU(pid int) time.Duration {
	const cpuclockSched = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if unix.ClockGettime(^int32(pid)<<3|cpuclockSched, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// userCPU reads the user time of a process: the 14th field of its stat, the 12th
// after the name in parentheses, in ticks of USER_HZ, which is 100. It is zero
// if the process has just ended.
func userCPU(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 12 {
		return 0
	}
	ticks, err := strconv.ParseInt(string(fields[11]), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// Stop asks the child to send no more, waits until it has ended and returns
// its last figures. A closed loop first waits for the replies it is owed, at
// most Config.Timeout. Stop may be called many times, also after the end.
func (f *Flood) Stop() (Stats, error) {
	f.stdin.Close()
	return f.Wait()
}

// Wait waits until Config.Count requests are sent and, in a closed loop,
// answered or given up; without a Count, until Stop or the end of the context.
// When the context ended the flood, the error wraps its cause and the figures
// are those of the moment.
func (f *Flood) Wait() (Stats, error) {
	<-f.done
	return f.final, f.err
}
