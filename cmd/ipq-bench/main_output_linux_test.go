package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/output"
)

// outputs are commands that print, one for each way to: their arguments, and the
// exit status when what they print is lost. It is 0 for any but 0, where how the
// machine fares may be a failure, too.
func outputs(t *testing.T) map[string]int {
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	report, template := save(t, benchtest.Peers(1, 1)), file("template", "nothing", 0o600)
	program := file("peers", "#!/bin/sh\nexec echo hello\n", 0o700)
	const lost = output.ExitStatus
	all := map[string]int{
		"-h":                                   lost,
		"doctor":                               lost,
		"doctor namespace":                     lost,
		"compare " + report + " " + report:     lost,
		"html -o " + dir + "/page " + report:   lost,
		"svg -o " + dir + "/plots " + report:   lost,
		"peers -program " + program:            exitFailed, // its own
		"-duration 10ms -rounds 1 -modes pool": lost,
		"-rfc2544 -trial 50ms -rounds 1":       0,
		"-sweep batch=1,2 -duration 20ms -rounds 1 -modes inline":   lost,
		"-soak 2s -modes inline":                                    0,
		"markdown -o " + dir + "/page -svg " + dir + " " + template: lost,
	}
	for _, c := range subcommands() {
		all[c.name+" -h"] = lost
	}
	return all
}

// What a command prints to a full disk, or where nobody may write, is lost, and
// its exit status says so.
func TestOutputIsLost(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	unwritable, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer unwritable.Close()
	for args, want := range outputs(t) {
		for stdout, reason := range map[*os.File]error{full: syscall.ENOSPC, unwritable: syscall.EBADF} {
			var stderr bytes.Buffer
			cmd := command(strings.Fields(args)...)
			cmd.Stdout, cmd.Stderr = stdout, &stderr
			err := cmd.Run()
			skipWithoutNamespaces(t, stderr.String())
			var exit *exec.ExitError
			if !errors.As(err, &exit) || want != 0 && exit.ExitCode() != want || !strings.Contains(strings.ToLower(stderr.String()), reason.Error()) {
				t.Errorf("%s to %s: %v, want exit status %d and %q: %s", args, stdout.Name(), err, want, reason, &stderr)
			}
		}
	}
}

// A command whose reader has gone ends by SIGPIPE, as others do.
func TestOutputToNobody(t *testing.T) {
	for args := range outputs(t) {
		if strings.HasPrefix(args, "peers -program") {
			continue // that program's
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		var stderr bytes.Buffer
		cmd := command(strings.Fields(args)...)
		cmd.Stdout, cmd.Stderr = w, &stderr
		err = cmd.Run()
		w.Close()
		skipWithoutNamespaces(t, stderr.String())
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Errorf("%s: %v, %s", args, err, &stderr)
			continue
		}
		// With a private namespace there is a process in front, which passes it on.
		ended := exit.Sys().(syscall.WaitStatus)
		if ended.Signal() != syscall.SIGPIPE && ended.ExitStatus() != 128+int(syscall.SIGPIPE) {
			t.Errorf("%s: %v, %s", args, err, &stderr)
		}
	}
}

// A file that cannot be written is a failure, whatever it is of.
func TestFileIsLost(t *testing.T) {
	dir, report := t.TempDir(), save(t, benchtest.Peers(1, 1))
	template := filepath.Join(dir, "template")
	if err := os.WriteFile(template, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The names that svg chooses.
	plots := filepath.Join(dir, "plots")
	var stdout, stderr bytes.Buffer
	if status := makeSVG([]string{"-o", plots, report}, &stdout, &stderr); status != exitOK {
		t.Fatalf("status %d, %s", status, &stderr)
	}
	for name := range strings.Lines(stdout.String()) {
		name = strings.TrimSpace(name)
		if err := errors.Join(os.Remove(name), os.Symlink("/dev/full", name)); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]int{
		"-duration 10ms -rounds 1 -modes pool -json /dev/full": exitFailed,
		"-duration 10ms -rounds 1 -modes pool -html /dev/full": exitFailed,
		"-rfc2544 -trial 50ms -rounds 1 -json /dev/full":       exitFailed,
		"html -o /dev/full " + report:                          exitUsage,
		"svg -o " + plots + " " + report:                       exitUsage,
		"markdown -o /dev/full -svg " + dir + " " + template:   exitUsage,
	} {
		var stderr bytes.Buffer
		cmd := command(strings.Fields(args)...)
		cmd.Stderr = &stderr
		err := cmd.Run()
		skipWithoutNamespaces(t, stderr.String())
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != want || !strings.Contains(stderr.String(), syscall.ENOSPC.Error()) {
			t.Errorf("%s: %v, want exit status %d: %s", args, err, want, &stderr)
		}
	}
}
