package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// On a terminal there is one line that is written anew, never as wide as the
// terminal.
func TestTerminal(t *testing.T) {
	const columns = 60
	master, slave := openTerminal(t, columns)
	cmd := command("-duration", "2500ms", "-modes", "inline") // two new figures in each round
	cmd.Env = append(cmd.Env, "TERM=xterm")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = slave, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	// When the last process has closed the terminal, reading fails with EIO.
	all, _ := io.ReadAll(master)
	err := cmd.Wait()
	skipWithoutNamespaces(t, stderr.String())
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var live []string
	text := strings.ReplaceAll(string(all), "\r\n", "\n")
	for line := range strings.Lines(text) {
		states := strings.Split(strings.TrimSuffix(line, "\n"), "\r")
		for _, s := range states[1:] {
			shown, _, cleared := strings.Cut(s, clearToEnd)
			if !cleared {
				t.Errorf("what was there before is not cleared behind %q", s)
			}
			live = append(live, shown)
			if len(shown) > columns-len("^C")-1 {
				t.Errorf("%d columns on a terminal of %d: %q", len(shown), columns, shown)
			}
		}
		if len(states) == 1 && len(states[0]) > columns {
			t.Errorf("%d columns on a terminal of %d: %q", len(line), columns, line)
		}
	}
	if !slices.ContainsFunc(live, func(s string) bool {
		return strings.HasPrefix(s, "1/5 inline, ") && strings.Contains(s, " verdicts/s of ")
	}) {
		t.Errorf("no rates in %q", live)
	}
	if n := len(live); n == 0 || live[n-1] != "" {
		t.Error("the living line is not taken away at the end")
	}
}

// Ctrl-C, or a signal to the process group, in the middle of a window: all get
// it, the floods included. The window counts as far as it got, and the books
// balance.
func TestSignalInWindow(t *testing.T) {
	t.Run("Ctrl-C", func(t *testing.T) {
		testSignalInWindow(t, 130, func(terminal *os.File, _ int) error {
			_, err := terminal.Write([]byte{'C' & 0x1f})
			return err
		})
	})
	t.Run("SIGTERM", func(t *testing.T) {
		testSignalInWindow(t, 143, func(_ *os.File, group int) error {
			return syscall.Kill(-group, syscall.SIGTERM)
		})
	})
}

// someVerdicts is a living line of a window in which something was decided.
var someVerdicts = regexp.MustCompile(`[1-9][0-9,]* verdicts/s of `)

func testSignalInWindow(t *testing.T, status int, end func(terminal *os.File, group int) error) {
	file := filepath.Join(t.TempDir(), "report.json")
	master, slave := openTerminal(t, 100)
	cmd := command("-duration", "50s", "-json", file)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // the terminal is its stdin
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	var text strings.Builder
	for ended := false; ; {
		var buf [4096]byte
		n, err := master.Read(buf[:])
		if err != nil {
			break // EIO: everybody has left
		}
		text.Write(buf[:n])
		if !ended && someVerdicts.MatchString(text.String()) {
			ended = true
			if err := end(master, cmd.Process.Pid); err != nil {
				t.Error(err)
			}
		}
	}
	err := cmd.Wait()
	skipWithoutNamespaces(t, text.String())
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != status {
		t.Fatalf("%v, want exit status %d\n%s", err, status, text.String())
	}
	rep := readReport(t, file)
	if !rep.Interrupted || !rep.Books.Balanced {
		t.Errorf("interrupted %v, books %+v", rep.Interrupted, rep.Books)
	}
	if got := rep.Modes[0].Rounds; len(got) != 1 || !got[0].Partial || got[0].Window >= rep.Parameters.Window ||
		got[0].Verdicts == 0 {
		t.Errorf("rounds %+v, want a part of the first", got)
	}
}

// openTerminal opens a pseudo-terminal with so many columns.
func openTerminal(t *testing.T, columns uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}
