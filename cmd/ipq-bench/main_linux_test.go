package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/netlab"
)

// A command is this test binary as ipq-bench, in a process group of its own.
func command(args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), runMain+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// skipWithoutNamespaces skips the test when the command ended because it may
// not make a namespace; where CI is set, it fails instead.
func skipWithoutNamespaces(t *testing.T, stderr string) {
	t.Helper()
	if !strings.Contains(stderr, netlab.ErrUnavailable.Error()) {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("CI must test this: %s", stderr)
	}
	t.Skip(stderr)
}

// checkReport checks what holds for every complete run.
func checkReport(t *testing.T, rep *report.Report, stdout string) {
	t.Helper()
	if rep.Schema == 0 || rep.Interrupted || rep.Machine.Kernel == "" || rep.Setup.ReadBuffer == 0 {
		t.Errorf("report %+v", rep)
	}
	b := &rep.Books
	if !b.Balanced || !b.LostKnown || b.Sent == 0 || b.Sent != b.Ruled || b.Sent != b.Received+b.Lost ||
		b.Verdicts != b.Received {
		t.Errorf("books: %+v", *b)
	}
	for _, m := range rep.Modes {
		if len(m.Rounds) != usualRounds {
			t.Errorf("%s: %d rounds, want %d", m.Name, len(m.Rounds), usualRounds)
		}
		var all report.Round
		for _, rd := range m.Rounds {
			if rd.Partial || rd.Window < rep.Parameters.Window || rd.Life.Sent < rd.Sent {
				t.Errorf("%s: round %+v", m.Name, rd)
			}
			all.CPU += rd.CPU
			all.Sent += rd.Sent
			all.Verdicts += rd.Verdicts
			all.Writes += rd.Writes
			all.Batches += rd.Batches
		}
		if all.CPU == 0 || all.Sent == 0 || all.Verdicts == 0 || all.Writes == 0 || all.Batches == 0 {
			t.Errorf("%s: nothing was measured: %+v", m.Name, all)
		}
		for _, x := range rep.Parameters.Rows() {
			if s, ok := m.Summary[x.Name]; !ok || s.Min > s.Median || s.Median > s.Max {
				t.Errorf("%s: %s is %+v", m.Name, x.Name, s)
			}
		}
	}
	for _, x := range rep.Parameters.Rows() {
		if !strings.Contains(stdout, "\n"+x.Label) {
			t.Errorf("the table has no row %q", x.Label)
		}
	}
	for _, want := range []string{"inline, 5 rounds", "pool of ", "books     balanced: ", "round 5/5 inline: "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in the output", want)
		}
	}
	benchtest.WantLines(t, stdout, 100)
	if t.Failed() {
		t.Log(stdout)
	}
}

// mustRun runs the command, which must succeed and complain of nothing, and
// returns what it printed.
func mustRun(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	skipWithoutNamespaces(t, stderr.String())
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v: %s\n%s", err, stderr.String(), stdout.String())
	}
	return stdout.String()
}

func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	page := filepath.Join(t.TempDir(), "page.html")
	cmd := command("-duration", "1s", "-json", file, "-html", page)
	stdout := mustRun(t, cmd)
	rep := readReport(t, file)
	checkReport(t, rep, stdout)
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "<svg ") {
		t.Errorf("a page of %d bytes without plots: %v", len(text), err)
	}
	if rep.Machine.CPUs > 1 && rep.Setup.Shared() {
		t.Errorf("the flood runs on CPUs %v, the consumer on %v", rep.Setup.Flood, rep.Setup.Consumer)
	}
	if rep.Parameters.Workers != max(2, rep.Setup.GOMAXPROCS) || rep.Setup.GOMAXPROCS > len(rep.Setup.Consumer) {
		t.Errorf("a pool of %d, GOMAXPROCS %d, on CPUs %v",
			rep.Parameters.Workers, rep.Setup.GOMAXPROCS, rep.Setup.Consumer)
	}
}

// An ordinary user gets the same, down to the kernel's own count of drops.
func TestRunAsOrdinaryUser(t *testing.T) {
	cmd := command("-duration", "1s", "-json", "report.json")
	asOrdinaryUser(t, cmd)
	stdout := mustRun(t, cmd)
	rep := readReport(t, filepath.Join(cmd.Dir, "report.json"))
	checkReport(t, rep, stdout)
	if rep.Setup.Root {
		t.Error("the user has root's rights")
	}
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}

// A signal ends the run with the table of what was measured so far: sent to the
// process alone (kill) or to its group without a terminal (timeout), so that it
// arrives twice, before there is a round or after.
func TestSignal(t *testing.T) {
	for _, c := range []struct {
		name   string
		after  string // the line to wait for
		group  bool
		signal syscall.Signal
		status int
	}{
		{"process", "round 1/5 inline", false, syscall.SIGINT, 130},
		{"group", "round 1/5 inline", true, syscall.SIGINT, 130},
		{"warm-up", "run", true, syscall.SIGINT, 130},
		{"terminate", "run", false, syscall.SIGTERM, 143},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "report.json")
			cmd := command("-duration", "5s", "-json", file)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			lines := bufio.NewScanner(stdout)
			for lines.Scan() {
				text.WriteString(lines.Text() + "\n")
				if strings.HasPrefix(lines.Text(), c.after) {
					to := cmd.Process.Pid
					if c.group {
						to = -to
					}
					if err := syscall.Kill(to, c.signal); err != nil {
						t.Error(err)
					}
				}
			}
			err = cmd.Wait()
			skipWithoutNamespaces(t, stderr.String())
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != c.status || stderr.Len() > 0 {
				t.Errorf("%v, want exit status %d: %s", err, c.status, stderr.String())
			}
			for _, want := range []string{"\ninterrupted: ", "\nverdicts/s ", "\nbooks     balanced: "} {
				if !strings.Contains(text.String(), want) {
					t.Errorf("no %q in\n%s", want, text.String())
				}
			}
			rep := readReport(t, file)
			if !rep.Interrupted || !rep.Books.Balanced {
				t.Errorf("interrupted %v, books %+v", rep.Interrupted, rep.Books)
			}
			if c.after != "run" && len(rep.Modes[0].Rounds) == 0 {
				t.Error("the finished round is missing")
			}
		})
	}
}

// What cannot work is refused before anything is done.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-nope"}, "-nope"},
		{[]string{"-size", "9"}, "-size 9"},
		{[]string{"doctor", "who"}, "doctor who"},
		{[]string{"-json", filepath.Join(t.TempDir(), "none", "f")}, "-json"},
		{[]string{"-html", filepath.Join(t.TempDir(), "none", "f")}, "-html"},
		{[]string{"compare", "none", "none"}, "none"},
		{[]string{"html", "none"}, "-o"},
		{[]string{"svg", "-o", "f", "none"}, "none"},
	} {
		out, err := command(c.args...).CombinedOutput()
		skipWithoutNamespaces(t, string(out))
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
			t.Errorf("%v: %v, want exit status %d", c.args, err, exitUsage)
		}
		text := string(out)
		if !strings.Contains(text, c.want) || strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "ipq-bench: ") {
			t.Errorf("%v: %q, want one line with %q", c.args, text, c.want)
		}
	}
}
