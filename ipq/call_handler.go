package ipq

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"

	"github.com/goipq/goipq/internal/zerocopy"
)

// A Handler decides packets. With a pool, calls for packets of different flows
// run at the same time; with [Inline] and one queue there is one call at a
// time.
//
// The packet is borrowed until HandlePacket returns. What it returns is the
// packet's verdict; a verdict that the kernel does not know counts as
// [Drop]. A panic is contained: the packet gets [Config.OnPanic].
type Handler interface {
	HandlePacket(p *Packet) Verdict
}

// A HandlerFunc is a function that is a [Handler].
type HandlerFunc func(p *Packet) Verdict

// HandlePacket calls f(p).
func (f HandlerFunc) HandlePacket(p *Packet) Verdict { return f(p) }

// A WholePacketHandler is a [Handler] that says whether it needs packets as they are,
// with all of their bytes. If it does, [Queue.Run] and [Queue.SetHandler] return an error
// that matches [ErrConfig] where [Config.Copy] or [Config.SnapLen] leaves something out.
// A handler that hands packets on to such a one has the method, too.
type WholePacketHandler interface {
	Handler
	NeedsWholePackets() bool
}

// suits returns an error if h needs more of packets than is copied.
func (c *Config) suits(h Handler) error {
	w, ok := h.(WholePacketHandler)
	switch {
	case !ok || !w.NeedsWholePackets():
	case c.Copy != CopyPacket:
		return fmt.Errorf("%w: Config.Copy is CopyMeta: the handler, a %T, needs whole packets: want CopyPacket", ErrConfig, h)
	case c.SnapLen < zerocopy.MaxCopyRange:
		return fmt.Errorf("%w: Config.SnapLen is %d: the handler, a %T, needs whole packets: want 0, or %d", ErrConfig, c.SnapLen, h, zerocopy.MaxCopyRange)
	}
	return nil
}

// A Bypasser has the kernel decide flows that a handler has settled with
// [Verdict.Bypass], so that they are queued no more. Package ipq/bypass has
// one.
type Bypasser interface {
	// Bypass settles the flow of p, which is borrowed, as v says: Accept or
	// Drop, with or without a mark. It is called before the verdict on p is
	// written, by the goroutine that decides p, so at the same time for packets
	// of different flows. It returns the verdict that is written, which is v
	// unless the bypass itself rests on a mark. With an error, or a panic, the
	// packet gets v and its flow stays as it was; that is counted, and logged,
	// but not more often than every ten seconds.
	Bypass(p *Packet, v Verdict) (Verdict, error)
}

// CanBypass reports whether [Verdict.Bypass] can have the flow of p settled: there is a
// [Config.Bypass], and p is in its handler and not deferred. A handler that works with
// and without asks for the bypass only then, so that nothing counts in
// [Stats.BypassFailed].
func (p *Packet) CanBypass() bool {
	return p.caller != nil && p.caller.e.cfg.Bypass != nil && !p.deferred
}

// An Unsettler is a [Bypasser] that can have a flow queued again; see [Packet.Unsettle].
type Unsettler interface {
	Bypasser
	// Unsettle has the flow of p, which is borrowed, queued again. It returns nil if the
	// flow is not settled.
	Unsettle(p *Packet) error
}

// Unsettle has the flow of p queued again if it is settled. It is for handlers that
// settle flows of TCP: a segment that opens another connection between the same ports
// may have waited behind one of the older connection, by which the flow was settled.
// Where [Config.Bypass] is no [Unsettler], or there is none, the error matches
// [errors.ErrUnsupported].
func (p *Packet) Unsettle() error {
	if p.CanBypass() {
		if u, ok := p.caller.e.cfg.Bypass.(Unsettler); ok {
			return u.Unsettle(p)
		}
	}
	return errNoUnsettler
}

var errNoUnsettler = fmt.Errorf("ipq: there is no Bypasser that unsettles flows: %w", errors.ErrUnsupported)

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
	told := v & (verdictReject | verdictBoth) // which is no Bypasser's matter
	v &^= wishes
	w, err := e.callBypasser(p, v)
	if err == nil {
		count.inc(countBypassed)
		return w | told
	}
	v |= told
	count.inc(countBypassFailed)
	if errors.Is(err, errNoBypass) {
		return v
	}
	if quiet, ok := e.bypassLog.allow(); ok {
		e.cfg.Logger.Error("ipq: bypass failed", "queue", p.Queue(), "flow", p.Flow(), "verdict", v, "err", err, "unlogged", quiet)
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
