package ipq

import (
	"slices"
	"sync"
	"time"
)

// The watchdog looks at the callers every eighth of Config.HandlerTimeout,
// within these bounds: a packet's time-out is then late by no more than that.
const (
	minTick = 500 * time.Microsecond
	maxTick = 50 * time.Millisecond
	// drainTick is how often it looks when the time to drain is over.
	drainTick = time.Millisecond
)

// watchdog looks after handlers that do not return, until done is closed.
func (q *Queue) watchdog(done <-chan struct{}) {
	var tick <-chan time.Time
	every := func(d time.Duration) (stop func()) {
		ticker := time.NewTicker(d)
		tick = ticker.C
		return ticker.Stop
	}
	if t := q.cfg.HandlerTimeout; t > 0 {
		defer every(min(max(t/8, minTick), maxTick))()
	}
	stopped := q.stopped
	var over <-chan time.Time
	for {
		select {
		case <-done:
			return
		case <-stopped:
			stopped = nil
			timer := time.NewTimer(q.cfg.DrainTimeout)
			defer timer.Stop()
			over = timer.C
			continue
		case <-over:
			over = nil
			q.overdue.Store(true)
			for _, l := range q.loops {
				l.sock.hasty.Store(true)
			}
			q.impatient()
			defer every(drainTick)()
		case <-tick:
		}
		now := q.clock()
		for _, l := range q.loops {
			l.to.watch(now)
		}
	}
}

// A takeover is what the watchdog needs to decide the shares that a pool's
// strands hold behind calls that overrun.
type takeover struct {
	// mu is held while callers are seized and what waits on their strands is
	// decided. So who holds it finds nothing waiting on a strand that was
	// submitted before its caller was seized.
	mu     sync.Mutex
	w      *writer
	seized []bool // by strand, whose caller is locked then
	shares []*share
}

// watch implements dispatcher.
func (d *pool) watch(now time.Duration) {
	d.takeover.mu.Lock()
	defer d.takeover.mu.Unlock()
	d.takeOver(now)
}

// takeOver takes shares over from handlers that do not return, with all that
// waits behind them. The caller holds takeover.mu.
func (d *pool) takeOver(now time.Duration) {
	t := &d.takeover
	any := false
	for k, st := range d.strands {
		t.seized[k] = d.seize(st, now)
		any = any || t.seized[k]
	}
	if !any {
		return
	}
	d.decideWaiting()
	for k, st := range d.strands {
		if t.seized[k] {
			st.mu.Unlock() // the handler may come back
		}
	}
}

// seize takes the share that is running on st over from a handler that does
// not return. It reports whether st is seized, now or already, and then leaves
// it locked.
func (d *pool) seize(st *strand, now time.Duration) bool {
	state, over := st.overruns(now, d.l.e.patience())
	if !over && phaseOf(state) != overrun {
		return false
	}
	st.mu.Lock()
	ok, err := over, error(nil)
	if over {
		ok, err = st.caller.seize(state)
	}
	if !ok {
		if st.phase() == overrun {
			return true
		}
		st.mu.Unlock()
		return false
	}
	// Before any verdict is out, so that what comes after it is not sent here.
	st.late.Store(uint32(st.packet.bucket) + 1)
	sh := st.share
	st.learn(monotonic()-st.started, sh.next+1)
	sh.next++
	d.decideUnhandled(st.w, sh, err)
	sh.done()
	_ = d.workers.MarkStuck(st.number) // fails only for a strand that is none
	return true
}

// decideUnhandled writes the verdicts on what is left of a share, unless there
// has been an error.
func (d *pool) decideUnhandled(w *writer, sh *share, err error) {
	for ; sh.next < len(sh.index) && err == nil; sh.next++ {
		err = w.addUnhandled(sh.packet(), d.l.e.lateness())
	}
	if err == nil {
		err = w.flush()
	}
	d.l.failed(err)
}

// decideWaiting decides what waits on the strands whose callers are seized, in
// the order in which the kernel queued it.
func (d *pool) decideWaiting() {
	t := &d.takeover
	t.shares = t.shares[:0]
	for _, b := range d.l.batches {
		for i := range b.shares {
			j := b.shares[i].job()
			if k, ok := j.waits(); ok && t.seized[k] && j.claim() {
				t.shares = append(t.shares, j.share)
			}
		}
	}
	slices.SortFunc(t.shares, func(a, b *share) int { return int(int32(a.packet().ID() - b.packet().ID())) })
	for _, sh := range t.shares {
		t.w.begin(sh.verdicts, sh.batch.received)
		d.decideUnhandled(t.w, sh, nil)
		sh.done()
		sh.leave()
	}
}

// overrun implements dispatcher.
func (d *pool) overrun() (n int) {
	for _, st := range d.strands {
		if st.phase() == overrun {
			n++
		}
	}
	return n
}
