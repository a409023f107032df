package machine

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func affinity(t *testing.T) (set unix.CPUSet) {
	t.Helper()
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// A pinned thread runs on one CPU, and afterwards where it might before.
func TestPinnedThreadIsReleased(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := affinity(t)
	pins, err := Pins(before.Count())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pins {
		unlock, err := p.Lock()
		if err != nil {
			t.Fatal(err)
		}
		if now := affinity(t); now.Count() != 1 || !now.IsSet(p.CPU) {
			t.Errorf("pinned to CPU %d: %d CPUs", p.CPU, now.Count())
		}
		unlock()
		if now := affinity(t); now != before {
			t.Errorf("after unlock: %d CPUs, before %d", now.Count(), before.Count())
		}
	}
	var few *TooFewCPUs
	if pins, err := Pins(before.Count() + 1); !errors.As(err, &few) || few.Have != before.Count() {
		t.Errorf("one more than there are: %v, %v", pins, err)
	}
}
