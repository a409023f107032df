package ipq

import (
	"sync/atomic"
	"time"
)

var epoch = time.Now()

// monotonic returns the time since the program started. It reads one clock,
// where time.Now reads two.
func monotonic() time.Duration { return time.Since(epoch) }

// logEvery is how often one kind of trouble, which each packet may meet, is
// logged at the most.
const logEvery = 10 * time.Second

// A limiter says when something that goes on happening is worth another line
// in the log. The zero value is ready.
type limiter struct {
	next  atomic.Int64 // monotonic nanoseconds; 0: nothing was logged yet
	quiet atomic.Uint64
}

// allow reports whether to log, and how many occurrences were passed over
// since the last time.
func (l *limiter) allow() (quiet uint64, ok bool) {
	next, now := l.next.Load(), int64(monotonic())
	if now < next || !l.next.CompareAndSwap(next, max(now, 1)+int64(logEvery)) {
		l.quiet.Add(1)
		return 0, false
	}
	return l.quiet.Swap(0), true
}
