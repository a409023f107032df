package ipq

import (
	"errors"
	"log/slog"
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
	return q.handler.HandlePacket(p)
}

var errGoexit = errors.New("handler called runtime.Goexit")

// panicked counts and, the first time, logs a handler's panic.
func (q *Queue) panicked(p *Packet, r any) {
	// What the handler left half done is not sent.
	p.edit.clear()
	if q.panics.Add(1) == 1 {
		q.cfg.Logger.Error("ipq: handler panicked; later panics are only counted",
			slog.Any("panic", r), slog.Any("verdict", q.cfg.OnPanic), slog.Int("queue", int(p.Queue())),
			slog.Uint64("packet", uint64(p.ID())), slog.String("stack", string(debug.Stack())))
	}
}
