package ipq

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// call calls the handler, and returns what it decides about p, whatever else it
// does. It reports false for a panic that recover cannot tell from
// runtime.Goexit, after which it does not return at all.
//
// It is the only place where a handler is called: [inCall] looks for it.
//
//go:noinline
func (c *caller) call(p *Packet) (v Verdict, returned bool) {
	defer func() {
		if returned {
			return
		}
		if r := recover(); r != nil {
			c.panicked(p, r)
			v, returned = c.q.cfg.OnPanic, true
		}
	}()
	if v = c.q.handler.HandlePacket(p); v&verdictBypass != 0 {
		v = c.q.bypass(p, v, c.w.count)
	}
	return v, true
}

// callFrame is where (*caller).call begins.
var callFrame = runtime.FuncForPC(reflect.ValueOf((*caller).call).Pointer()).Entry()

// inCall reports whether the calling goroutine is running a handler, of any
// queue: whether (*caller).call is among its callers.
func inCall() bool {
	pcs := make([]uintptr, 64)
	for {
		n := runtime.Callers(1, pcs)
		if n < len(pcs) {
			pcs = pcs[:n]
			break
		}
		pcs = make([]uintptr, 2*len(pcs))
	}
	frames := runtime.CallersFrames(pcs)
	for {
		f, more := frames.Next()
		if f.Entry == callFrame {
			return true
		}
		if !more {
			return false
		}
	}
}

var (
	errGoexit = errors.New("handler called runtime.Goexit")
	// errPanicNil stands for what has no value with GODEBUG=panicnil=1.
	errPanicNil = errors.New("handler called panic(nil)")
)

// panicked counts a handler's panic and logs it: the first time with the stack,
// then now and then.
func (c *caller) panicked(p *Packet, r any) {
	// What the handler left half done is not sent.
	p.edit.clear()
	c.w.count.inc(countPanics)
	q := c.q
	first := !q.hasPanicked.Swap(true)
	quiet, ok := q.panicLog.allow()
	if !ok {
		return
	}
	attrs := []any{"panic", r, "verdict", q.cfg.OnPanic, "queue", p.Queue(), "packet", p.ID(), "unlogged", quiet}
	if first {
		attrs = append(attrs, "stack", string(debug.Stack()))
	}
	q.cfg.Logger.Error("ipq: handler panicked", attrs...)
}

// bypass has the flow of p settled, if it can be, and returns the verdict to
// write.
func (q *Queue) bypass(p *Packet, v Verdict, count *counters) Verdict {
	v &^= verdictBypass
	w, err := q.callBypasser(p, v)
	if err == nil {
		count.inc(countBypassed)
		return w
	}
	count.inc(countBypassFailed)
	if errors.Is(err, errNoBypass) {
		return v
	}
	if quiet, ok := q.bypassLog.allow(); ok {
		q.cfg.Logger.Error("ipq: bypass failed", "flow", p.Flow(), "verdict", v, "err", err, "unlogged", quiet)
	}
	return v
}

var errBypasserPanicked = errors.New("Bypasser panicked")

// errNoBypass is for a verdict that cannot have a bypass. Stats alone tells.
var errNoBypass = errors.New("no bypass")

func (q *Queue) callBypasser(p *Packet, v Verdict) (w Verdict, err error) {
	code := v & verdictCode
	if q.cfg.Bypass == nil || p.deferred || code != Accept && code != Drop {
		return v, errNoBypass
	}
	// What stands if it panics with nil, which GODEBUG=panicnil=1 allows and
	// recover does not show.
	w, err = v, errBypasserPanicked
	defer func() {
		if r := recover(); r != nil {
			w, err = v, fmt.Errorf("%w: %v", errBypasserPanicked, r)
		}
	}()
	return q.cfg.Bypass.Bypass(p, v)
}

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
