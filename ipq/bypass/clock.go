package bypass

import (
	"math"
	"time"
)

func (c clock) now() uint64 { return c.nanos + uint64(time.Since(c.start)) }

// wall returns when the kernel's clock shows, or showed, nanos: the zero time
// for never.
func (c clock) wall(nanos uint64) time.Time {
	if nanos == 0 || nanos == math.MaxUint64 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(nanos - c.now()))
}
