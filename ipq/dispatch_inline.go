package ipq

import "time"

// inline is the dispatcher that calls the handler in the receive loop: run to
// completion, one batch after the other.
type inline struct {
	caller
	l *loop

	batch   *batch
	n       int    // messages in it
	next    int    // the message that is decided next
	packets uint64 // packets among the messages so far
}

func newInline(l *loop) *inline {
	l.runs.inOrder = true
	d := &inline{l: l}
	d.e, d.deferrals = l.e, l.deferrals
	d.w = l.newWriter(l.e.cfg.BatchSize, l.count)
	return d
}

// dispatch implements dispatcher.
func (d *inline) dispatch(b *batch, n int) (again bool) {
	d.batch, d.n, d.next, d.packets = b, n, 0, 0
	d.w.begin(b.Verdicts(), b.received)
	d.decideRest()
	return true
}

// decideRest decides the batch from next on.
func (d *inline) decideRest() {
	for ; d.next < d.n; d.next++ {
		p := d.l.packet(d.batch, d.next)
		if p == nil {
			continue
		}
		d.packets++
		mine, err := d.decide(p)
		if !mine {
			d.returnLate()
			return
		}
		d.l.failed(err)
	}
	d.write()
	d.batch.recycle()
}

// write writes the batch's verdicts.
func (d *inline) write() {
	d.l.count.add(countReceived, d.packets)
	d.l.failed(d.w.flush())
}

// returnLate is where a handler comes back to whose batch the watchdog has
// decided.
func (d *inline) returnLate() {
	d.comeBack()
	d.batch.recycle()
}

// resume implements dispatcher.
func (d *inline) resume() {
	if d.phase() == idle {
		return
	}
	mine, err := d.exited()
	if !mine {
		d.returnLate()
		return
	}
	d.l.failed(err)
	d.next++
	d.decideRest()
}

// await implements dispatcher: dispatch has left nothing.
func (d *inline) await() (stuck bool) { return false }

// decided implements dispatcher.
func (d *inline) decided() {}

// overtakes implements dispatcher: there is nothing to overtake.
func (d *inline) overtakes(*Packet) bool { return false }

// callers implements dispatcher.
func (d *inline) callers() []*caller { return []*caller{&d.caller} }

// overrun implements dispatcher.
func (d *inline) overrun() int {
	if d.phase() == overrun {
		return 1
	}
	return 0
}

// watch implements dispatcher. While a handler does not return, what comes is
// decided in its stead, and when the time to drain is over, so is the run.
func (d *inline) watch(now time.Duration) {
	state, over := d.overruns(now, d.l.e.patience())
	if !over && phaseOf(state) != overrun {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if over && !d.takeOver(state) || d.phase() != overrun || d.l.abandoned.Load() {
		return
	}
	if d.l.e.overdue.Load() {
		d.l.abandon()
		return
	}
	for range unhandledRounds {
		if d.l.receiveUnhandled(d.l.sock.FD()) != more {
			return
		}
	}
}

// unhandledRounds is how many batches at most are decided while a handler that
// returns would have to wait: 64 of 16 packets are a whole kernel queue of the
// default length.
const unhandledRounds = 64

// takeOver takes the batch over from a handler, unless it has returned.
func (d *inline) takeOver(state uint64) bool {
	ok, err := d.seize(state)
	if !ok {
		return false
	}
	for d.next++; d.next < d.n && err == nil; d.next++ {
		p := d.l.packet(d.batch, d.next)
		if p == nil {
			continue
		}
		d.packets++
		err = d.w.addUnhandled(p, d.e.unhandled(p))
	}
	d.l.failed(err)
	d.write()
	return true
}
