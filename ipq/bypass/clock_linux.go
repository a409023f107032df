package bypass

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A clock tells the time that the kernel's programs go by, without a system
// call: the runtime's monotonic clock is the same one, but for the zero.
type clock struct {
	start time.Time
	nanos uint64 // of CLOCK_MONOTONIC at start
}

func newClock() (clock, error) {
	var ts unix.Timespec
	start := time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return clock{}, os.NewSyscallError("clock_gettime", err)
	}
	return clock{start, uint64(ts.Nano())}, nil
}
