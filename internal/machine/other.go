//go:build !linux

package machine

import (
	"errors"
	"math"
	"time"
)

// Elsewhere nothing is known of limits, and nothing is pinned.

// Memory returns no limit.
func Memory() Limit { return Limit{Bytes: math.MaxUint64} }

// AddressSpace returns no limit.
func AddressSpace() Limit { return Limit{Bytes: math.MaxUint64} }

// A Pin is what Linux pins with.
type Pin struct{ CPU int }

// Pins returns nils: nothing is pinned.
func Pins(n int) ([]*Pin, error) { return make([]*Pin, n), nil }

// Lock returns errors.ErrUnsupported.
func (*Pin) Lock() (func(), error) { return nil, errors.ErrUnsupported }

// Wakes returns 0.
func (*Pin) Wakes() time.Duration { return 0 }

// Yields returns false.
func (*Pin) Yields(time.Duration) bool { return false }
