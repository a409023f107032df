package ipq

import (
	"context"
	"runtime/pprof"
	"strconv"
	"sync/atomic"
	"time"
)

// An engine is what the receive loops of a Queue, and all that runs in them, have
// in common.
type engine struct {
	cfg     Config
	handler atomic.Pointer[Handler] // nil: there is none yet
	stop    func()                  // makes Run end
	clock   func() time.Duration    // by which handlers overrun their time

	inherits bool          // Inherit was called
	detached atomic.Bool   // the queue is left to others
	stopped  chan struct{} // closed when Run is to end
	// When the time to drain is over, overdue is set and patient ends.
	overdue   atomic.Bool
	patient   context.Context
	impatient context.CancelFunc

	hasPanicked         atomic.Bool
	metOwn              once
	panicLog, bypassLog limiter
}

// patience is how long a handler may run.
func (e *engine) patience() time.Duration {
	if e.overdue.Load() {
		return 0
	}
	return e.cfg.HandlerTimeout
}

// lateness is why packets are decided that a handler has, or holds up.
func (e *engine) lateness() cause {
	if e.overdue.Load() {
		return byEnd
	}
	return byTimeout
}

// unhandled is why no handler is called for p, when it could be, or time is over.
func (e *engine) unhandled(p *Packet) cause {
	if e.own(p) {
		return byOwn
	}
	return e.lateness()
}

// own reports whether p is of this product's own traffic.
func (e *engine) own(p *Packet) bool { return e.cfg.OwnMark != 0 && e.meetsOwn(p) }

// meetsOwn is own where there is such traffic. It logs the first packet of it.
func (e *engine) meetsOwn(p *Packet) bool {
	mark := e.cfg.OwnMark
	if p.broken || p.msg.Mark() != mark {
		return false
	}
	if e.metOwn.first() {
		go e.cfg.Logger.Warn("ipq: this product's own traffic comes to its queue, and passes: have the rules accept its mark before they queue",
			"mark", mark, "queue", p.Queue(), "flow", p.Flow())
	}
	return true
}

// profileLabels are those of a goroutine that serves a queue: what it does there, and
// what else ctx says.
func profileLabels(ctx context.Context, does string, queue uint16) context.Context {
	return pprof.WithLabels(ctx, pprof.Labels("ipq", does, "queue", strconv.Itoa(int(queue))))
}

var epoch = time.Now()

// monotonic returns the time since the program started. It reads one clock,
// where time.Now reads two.
func monotonic() time.Duration { return time.Since(epoch) }

// logEvery is how often one kind of trouble, which each packet may meet, is
// logged at the most.
const logEvery = 10 * time.Second

// once tells the first of those who ask, such as whether to log what each packet meets.
// Who is on a packet's way and is not looked after by the watchdog leaves the logging to
// another goroutine, since a Logger, which is the user's, may wait.
type once struct{ done atomic.Bool }

func (o *once) first() bool { return !o.done.Load() && !o.done.Swap(true) }

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
