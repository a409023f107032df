package bypass

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

// monotonic returns CLOCK_MONOTONIC as this process's time namespace has it.
func monotonic(t testing.TB) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// ahead returns how far that is ahead of the initial time namespace's, in the
// kernel's own words.
func ahead(t testing.TB) time.Duration {
	t.Helper()
	f, err := os.Open("/proc/self/timens_offsets")
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var name string
		var seconds, nanos time.Duration
		if _, err := fmt.Sscan(lines.Text(), &name, &seconds, &nanos); err != nil {
			t.Fatal(err)
		}
		if name == "monotonic" || name == "1" { // its number, before Linux 5.7
			return seconds*time.Second + nanos
		}
	}
	t.Fatal("no offset of CLOCK_MONOTONIC")
	return 0
}

// The clock is the kernel's, a moment behind at most, and never ahead: no limit
// ends too late by it.
func TestClock(t *testing.T) {
	needBPF(t)
	for range 10 {
		c, err := newClock()
		if err != nil {
			t.Fatal(err)
		}
		earliest := monotonic(t) - ahead(t)
		shown := time.Duration(c.now())
		latest := monotonic(t) - ahead(t)
		// Both are rounded to the nanosecond. A reading takes microseconds, on a
		// slow machine milliseconds.
		if shown < earliest-time.Second || shown > latest+time.Microsecond {
			t.Errorf("it shows %v, the kernel's %v to %v", shown, earliest, latest)
		}
	}
}

// In a time namespace, whatever its offset, all limits and the lease end as they
// do in the initial one.
func TestTimeNamespaces(t *testing.T) {
	needBPF(t)
	unshare := labtest.Program(t, "unshare")
	if _, err := os.Stat("/proc/self/ns/time_for_children"); err != nil {
		t.Skip("this kernel has no time namespaces:", err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []string{
		"TestClock", "TestLimits", "TestBudgets", "TestKernelTimeEndsFlows", "TestFlowsAreQueuedAgain",
		"TestCrash", "TestCloseEndsTheLease", "TestBeforeLinux511", "TestSettledFlowsAreNotQueued",
	}
	const days = 48 * time.Hour
	// No clock may show a time before the kernel's start.
	up := monotonic(t) - ahead(t)
	for _, offset := range []time.Duration{days, -min(days, up-time.Second)} {
		cmd := exec.Command(unshare, "--time", fmt.Sprintf("--monotonic=%d", int64(offset.Seconds())), "--fork", "--kill-child",
			exe, "-test.run=^("+strings.Join(tests, "|")+")$", "-test.v")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("offset %v: %v\n%s", offset, err, out)
		}
		for _, name := range tests {
			if !strings.Contains(string(out), "--- PASS: "+name+" ") {
				t.Errorf("offset %v: %s did not pass\n%s", offset, name, out)
			}
		}
	}
}
