package ipq

import (
	"errors"
	"runtime/debug"
)

// decide has p handled and takes its verdict. It writes when the oldest
// verdict has waited for Config.FlushAfter, counted from the call of its
// handler: so handlers that take longer than that have each verdict written at
// once.
func (w *writer) decide(q *Queue, p *Packet) error {
	if err := w.add(p, q.verdict(p)); err != nil || w.flushAfter <= 0 {
		return err
	}
	if now := monotonic(); now-w.since >= w.flushAfter {
		w.since = now
		return w.flush()
	}
	return nil
}

// exited takes the verdict on a packet whose handler called runtime.Goexit.
func (w *writer) exited(q *Queue, p *Packet) error {
	q.panicked(p, errGoexit)
	return w.add(p, q.cfg.OnPanic)
}

// verdict returns what the handler decides about p, whatever the handler does.
func (q *Queue) verdict(p *Packet) (v Verdict) {
	if p.broken {
		return q.cfg.onUndecodable()
	}
	defer func() {
		if r := recover(); r != nil {
			q.panicked(p, r)
			v = q.cfg.OnPanic
		}
	}()
	if v = q.handler.HandlePacket(p); v&verdictBypass != 0 {
		v = q.bypass(p, v) // which may panic, too
	}
	return v
}

var errGoexit = errors.New("handler called runtime.Goexit")

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
