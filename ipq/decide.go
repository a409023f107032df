package ipq

import (
	"errors"
	"runtime/debug"
)

// verdict returns what the handler decides about p, whatever the handler does.
// It reports false for a panic that recover cannot tell from runtime.Goexit,
// after which it does not return at all.
func (q *Queue) verdict(p *Packet) (v Verdict, returned bool) {
	defer func() {
		if returned {
			return
		}
		if r := recover(); r != nil {
			q.panicked(p, r)
			v, returned = q.cfg.OnPanic, true
		}
	}()
	if v = q.handler.HandlePacket(p); v&verdictBypass != 0 {
		v = q.bypass(p, v)
	}
	return v, true
}

var (
	errGoexit = errors.New("handler called runtime.Goexit")
	// errPanicNil stands for what has no value with GODEBUG=panicnil=1.
	errPanicNil = errors.New("handler called panic(nil)")
)

// panicked counts a handler's panic and logs it: the first time with the stack,
// then now and then.
func (q *Queue) panicked(p *Packet, r any) {
	// What the handler left half done is not sent.
	p.edit.clear()
	first := q.panics.Add(1) == 1
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
