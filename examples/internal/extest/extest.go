// Package extest lets the tests of an example run it as a program of its own,
// inside a private network namespace. The program is the test binary once more,
// which then calls the example's main: there is nothing to build first.
//
//	func TestMain(m *testing.M) { extest.Main(m, main) }
//
//	func TestExample(t *testing.T) {
//		ns := labtest.New(t)
//		p := extest.Start(t, ns, "-v")
//		p.WaitFor(t, "ready")
//		...
//		output := p.Interrupt(t)
//	}
package extest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// envMain marks the process that is to be the example.
const envMain = "GOIPQ_EXAMPLE_MAIN"

// patience is how long an example may take for what it does in milliseconds on
// an idle machine.
const patience = 2 * time.Minute

// Main runs the tests of m in a private network namespace or, in a process that runs a
// Command, and in those that it starts of itself, the example.
func Main(m *testing.M, main func()) {
	if os.Getenv(envMain) != "" {
		main()
		os.Exit(0)
	}
	labtest.Main(m)
}

// A Process is a running example. It is killed when the test ends.
type Process struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	output *os.File
	lines  *bufio.Scanner
	text   strings.Builder // what was read of the output
}

// Command returns the command that runs the example with these arguments.
func Command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), envMain+"=1")
	return cmd
}

// Start runs the example inside ns with these arguments.
func Start(t *testing.T, ns *netlab.NS, args ...string) *Process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	t.Cleanup(func() { r.Close() })

	cmd := Command(t, args...)
	cmd.Stdout, cmd.Stderr = w, w
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return &Process{cmd: cmd, input: input, output: r, lines: bufio.NewScanner(r)}
}

// WaitFor reads the output up to a line that contains text.
func (p *Process) WaitFor(t *testing.T, text string) {
	t.Helper()
	for p.readLine(t) {
		if strings.Contains(p.lines.Text(), text) {
			return
		}
	}
	t.Fatalf("the example ended without %q:\n%s", text, &p.text)
}

// Type writes a line to the example's input.
func (p *Process) Type(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(p.input, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// CloseInput ends the example's input.
func (p *Process) CloseInput(t *testing.T) {
	t.Helper()
	if err := p.input.Close(); err != nil {
		t.Fatal(err)
	}
}

// Interrupt sends SIGINT, waits for the example to end well, and returns its
// whole output.
func (p *Process) Interrupt(t *testing.T) string {
	t.Helper()
	p.Signal(t, os.Interrupt)
	return p.End(t)
}

// Terminate has the example find SIGTERM and everything that meanwhile does at
// the same time: it is stopped (SIGSTOP) in between. It waits for the example to
// end well, and returns its whole output.
func (p *Process) Terminate(t *testing.T, meanwhile func()) string {
	t.Helper()
	p.Signal(t, syscall.SIGSTOP)
	p.awaitStop(t)
	meanwhile()
	p.Signal(t, syscall.SIGTERM)
	p.Signal(t, syscall.SIGCONT)
	return p.End(t)
}

// Signal sends the example a signal.
func (p *Process) Signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// awaitStop waits until no thread of the example runs any more.
func (p *Process) awaitStop(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("no threads: %v", err)
		}
		if !slices.ContainsFunc(tasks, isRunning) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the example does not stop")
		}
	}
}

// isRunning reports whether the thread of a /proc/PID/task/TID/stat is neither
// stopped nor gone.
func isRunning(stat string) bool {
	b, err := os.ReadFile(stat)
	_, rest, _ := bytes.Cut(b, []byte(") ")) // behind the name stands the state
	return err == nil && !bytes.HasPrefix(rest, []byte("T"))
}

// End waits for the example to end well, and returns its whole output.
func (p *Process) End(t *testing.T) string {
	t.Helper()
	for p.readLine(t) {
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("after a signal: %v\n%s", err, &p.text)
	}
	return p.text.String()
}

// readLine reads a line of output and reports whether there was one.
func (p *Process) readLine(t *testing.T) bool {
	t.Helper()
	if err := p.output.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if !p.lines.Scan() {
		if err := p.lines.Err(); err != nil {
			t.Fatalf("%v\n%s", err, &p.text)
		}
		return false
	}
	p.text.WriteString(p.lines.Text() + "\n")
	return true
}
