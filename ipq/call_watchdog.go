package ipq

import "time"

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
