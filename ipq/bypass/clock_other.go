//go:build !linux

package bypass

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// A clock is the Linux kernel's.
type clock struct {
	start time.Time
	nanos uint64
}

func newClock() (clock, error) {
	return clock{}, fmt.Errorf("bypass: netfilter is Linux's, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
