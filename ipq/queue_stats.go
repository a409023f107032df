package ipq

// Stats returns the counts so far. It may be called at any time, also after
// Close, and reads the kernel's tables unless Run has returned.
func (q *Queue) Stats() Stats {
	s := Stats{Counts: Counts{KernelKnown: true}, Queues: make([]QueueStats, 0, len(q.loops))}
	for _, l := range q.loops {
		c := l.counts()
		s.Counts.add(&c)
		s.Queues = append(s.Queues, QueueStats{Queue: l.sock.Queue(), Counts: c})
	}
	return s
}

// Histograms returns how long handlers and verdicts have taken so far, for each queue
// in the order of their numbers, or nil without [Config.Histograms]. Like [Queue.Stats]
// it may be called at any time. [Counts].BatchSizes, the third of the kind, needs no
// clock and is always there.
func (q *Queue) Histograms() []QueueHistograms {
	if !q.cfg.Histograms {
		return nil
	}
	all := make([]QueueHistograms, len(q.loops))
	for i, l := range q.loops {
		h := &all[i]
		h.Queue = l.sock.Queue()
		for _, w := range l.writers {
			w.watch.handler.addTo(&h.HandlerTime)
			w.watch.latency.addTo(&h.VerdictLatency)
		}
		l.deferrals.latency.addTo(&h.VerdictLatency)
	}
	return all
}

// counts returns what was counted for the loop's queue, and what the kernel counts.
func (l *loop) counts() (c Counts) {
	for _, x := range l.sets {
		x.addTo(&c)
	}
	l.sizes.addTo(&c)
	c.Stuck, c.DeferredNow = l.to.overrun(), l.runs.holds()
	c.ReadBuffer = l.sock.ReadBuffer()

	k := l.sock.Counters()
	c.KernelKnown, c.Waiting, c.Sequence = k.Known, k.Waiting, k.Sequence
	c.QueueDropped, c.SocketDropped = k.QueueDropped, k.SocketDropped
	if l.e.cfg.FailOpen || l.e.cfg.Observe {
		c.PassedBy.SocketFull = k.SocketDropped
	} else {
		c.DroppedBy.QueueFull, c.DroppedBy.SocketFull = k.QueueDropped, k.SocketDropped
	}
	return c
}
