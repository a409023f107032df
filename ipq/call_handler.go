package ipq

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"
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
			v, returned = c.e.cfg.onPanic(), true
		}
	}()
	h := c.e.handler.Load()
	if h == nil {
		c.by = byNoHandler
		return c.e.cfg.beforeHandler(), true
	}
	if v = (*h).HandlePacket(p); v&verdictBypass != 0 {
		v = c.e.bypass(p, v, c.w.count)
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
	c.by = byPanic
	c.w.count.inc(countPanics)
	e := c.e
	first := !e.hasPanicked.Swap(true)
	quiet, ok := e.panicLog.allow()
	if !ok {
		return
	}
	attrs := []any{"panic", r, "verdict", e.cfg.onPanic(), "queue", p.Queue(), "packet", p.ID(), "unlogged", quiet}
	if first {
		attrs = append(attrs, "stack", string(debug.Stack()))
	}
	e.cfg.Logger.Error("ipq: handler panicked", attrs...)
}

// bypass has the flow of p settled, if it can be, and returns the verdict to
// write.
func (e *engine) bypass(p *Packet, v Verdict, count *counters) Verdict {
	v &^= verdictBypass
	w, err := e.callBypasser(p, v)
	if err == nil {
		count.inc(countBypassed)
		return w
	}
	count.inc(countBypassFailed)
	if errors.Is(err, errNoBypass) {
		return v
	}
	if quiet, ok := e.bypassLog.allow(); ok {
		e.cfg.Logger.Error("ipq: bypass failed", "flow", p.Flow(), "verdict", v, "err", err, "unlogged", quiet)
	}
	return v
}

var errBypasserPanicked = errors.New("Bypasser panicked")

// errNoBypass is for a verdict that cannot have a bypass. Stats alone tells.
var errNoBypass = errors.New("no bypass")

func (e *engine) callBypasser(p *Packet, v Verdict) (w Verdict, err error) {
	code := v & verdictCode
	if e.cfg.Bypass == nil || p.deferred || code != Accept && code != Drop {
		return v, errNoBypass
	}
	if e.cfg.Observe {
		return v, nil // it would have been settled
	}
	// What stands if it panics with nil, which GODEBUG=panicnil=1 allows and
	// recover does not show.
	w, err = v, errBypasserPanicked
	defer func() {
		if r := recover(); r != nil {
			w, err = v, fmt.Errorf("%w: %v", errBypasserPanicked, r)
		}
	}()
	return e.cfg.Bypass.Bypass(p, v)
}
