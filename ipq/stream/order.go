package stream

import (
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
)

// slack is how old a segment or an acknowledgement may be beyond the largest window
// that its receiver has had, in bytes: that of a super-packet.
const slack = 1 << 16

// step decides a segment without SYN.
func (e *Engine) step(sh *shard, c *Conn, s *segment) ipq.Verdict {
	out, in := &c.ways[s.way], &c.ways[1-s.way]
	if c.phase == dropped {
		if e.inspectors[c.index] != nil { // it has panicked
			e.settle(sh, c, dropped, Dropped)
		}
		return sh.drop(FlowEnded).Bypass()
	}
	if s.has(zerocopy.TCPRst) {
		return e.rst(sh, c, s)
	}
	if !out.known && !in.known {
		c.midstream(s)
	}
	carries := len(s.data) > 0 || s.has(zerocopy.TCPFin)
	switch {
	case !out.known || !in.known:
		return sh.drop(BadAck)
	case !out.near(s, in.window):
		return sh.drop(OutOfWindow)
	case !in.acks(s.ack, out.window):
		return sh.drop(BadAck)
	case carries && !out.confirmed:
		return sh.drop(BadAck) // the receiver may not have answered the SYN that we know
	}
	if c.reset { // its ends go on
		c.reset = false
		if c.phase == open {
			c.keep(sh)
		}
	}
	in.acknowledge(e.arena, s.ack)
	c.windows(s)

	v := e.establish(sh, c)
	if carries && (c.phase == open || c.phase == closed) {
		v = e.data(sh, c, s, out)
	}
	if c.phase == open && out.finAcked && in.finAcked {
		c.phase = closed
		c.expend(sh, ending)
		e.end(sh, c, Finished)
	}
	return v
}

// windows notes how much room the sender of s has.
func (c *Conn) windows(s *segment) {
	out, in := &c.ways[s.way], &c.ways[1-s.way]
	window := uint32(s.window)
	if out.scale.told && in.scale.told {
		window <<= out.scale.shift
	}
	in.edge = later(in.edge, s.ack+window)
	out.window = max(out.window, window)
}

// near reports whether the receiver, whose windows were up to window, may take s.
// Beyond its window it takes nothing, but for what is next: a probe of a closed window.
func (w *way) near(s *segment, window uint32) bool {
	oldest := w.acked - max(window, slack)
	return !before(s.seq+uint32(len(s.data)), oldest) && (s.seq == w.next || !before(w.edge, s.seq))
}

// acks reports whether the sender of w takes an acknowledgement, from a receiver whose
// windows were up to window (RFC 5961, section 5.2).
func (w *way) acks(ack, window uint32) bool {
	if !w.confirmed {
		return ack == w.next
	}
	return !before(w.next, ack) && !before(ack, w.acked-max(window, slack))
}

// acknowledge notes that the receiver has what is before ack.
func (w *way) acknowledge(a *arena, ack uint32) {
	w.confirmed = true
	if !before(w.acked, ack) {
		return
	}
	w.acked = ack
	w.finAcked = w.ended && ack == w.next
	w.base = w.forget(a, ack, w.base)
}

// rst decides a segment with RST. Whether its receiver takes it depends on what that
// has received, so it ends nothing by itself: it is told from what follows.
func (e *Engine) rst(sh *shard, c *Conn, s *segment) ipq.Verdict {
	out, in := &c.ways[s.way], &c.ways[1-s.way]
	if c.phase != open {
		return ipq.Accept
	}
	if !out.near(s, in.window) {
		return sh.drop(OutOfWindow)
	}
	c.reset = true
	if s.seq == out.next {
		c.expend(sh, ending)
	}
	return ipq.Accept
}

// data decides a segment with data, or with FIN.
func (e *Engine) data(sh *shard, c *Conn, s *segment, out *way) ipq.Verdict {
	end, fin := s.seq+uint32(len(s.data)), s.has(zerocopy.TCPFin)
	if out.contradicts(e.arena, s.seq, end, fin) || out.conflicts(e.arena, s.seq, s.data) {
		return sh.drop(Conflict)
	}
	v := ipq.Accept
	switch {
	case before(out.next, s.seq):
		if int(end-out.next) > e.behind() {
			return sh.drop(Ahead)
		}
		kept, ok := out.add(e.arena, s.seq, s.data, s.in, true, e.most)
		if e.arena.decided(kept); !ok {
			return sh.drop(Ahead)
		}
		sh.count.early.Add(1)
	case before(out.next, end):
		if int(end-out.acked) > e.behind() {
			return sh.drop(Behind)
		}
		fresh := s.data[out.next-s.seq:]
		kept, ok := out.add(e.arena, out.next, fresh, s.in, false, 0)
		if !ok {
			return e.limit(sh, c)
		}
		sh.count.segments.Add(1)
		if v = e.inspect(sh, c, s.way, fresh); c.phase == open {
			e.arena.decided(kept)
		}
	case len(s.data) > 0:
		sh.count.retransmitted.Add(1)
	}
	if c.phase != open {
		return v
	}
	if fin {
		out.fin, out.ends = end, true
	}
	if out.ends && !out.ended && out.next == out.fin {
		out.ended = true
		out.next++
	}
	return v
}

// behind is how many bytes may be remembered of a direction.
func (e *Engine) behind() int {
	if e.arena.scarce.Load() {
		return max(minMaxBehind, e.cfg.MaxBehind/8)
	}
	return e.cfg.MaxBehind
}

// contradicts reports whether a segment says another end of the direction than what
// has come.
func (w *way) contradicts(a *arena, seq, end uint32, fin bool) bool {
	if w.ends {
		return before(w.fin, end) || fin && end != w.fin
	}
	return fin && (before(end, w.next) || w.tail != 0 && before(end, a.blocks[w.tail].end()))
}

// inspect shows the bytes that are next, which came by a segment, to the Inspector, and
// then those that came early and follow now.
func (e *Engine) inspect(sh *shard, c *Conn, way uint8, b []byte) ipq.Verdict {
	out := &c.ways[way]
	i, d := e.inspectors[c.index], c.direction(way)
	for {
		sh.count.bytes.Add(uint64(len(b)))
		c.phase = dropped // if Data panics
		decision := i.Data(c, d, b)
		c.phase = open
		out.next += uint32(len(b))
		switch decision {
		case Continue:
		case Pass:
			e.settle(sh, c, passed, Passed)
			return sh.pass()
		case Reset:
			e.settle(sh, c, dropped, Dropped)
			sh.drop(Verdict)
			return ipq.RejectBoth.Bypass()
		default:
			e.settle(sh, c, dropped, Dropped)
			return sh.drop(Verdict).Bypass()
		}
		out.reached(e.arena, out.next)
		var ok bool
		if b, ok = out.step(e.arena, out.next); !ok {
			return ipq.Accept
		}
	}
}

// limit decides a connection for whose bytes there is no room.
func (e *Engine) limit(sh *shard, c *Conn) ipq.Verdict {
	if e.cfg.OnLimit == PassFlow {
		e.settle(sh, c, passed, Limited)
		return sh.pass()
	}
	e.settle(sh, c, dropped, Limited)
	return sh.drop(MemoryLimit).Bypass()
}

// settle decides the rest of a connection.
func (e *Engine) settle(sh *shard, c *Conn, p phase, why Reason) {
	c.phase, c.reset = p, false
	for w := range c.ways {
		c.ways[w].clear(e.arena)
	}
	switch {
	case p == passed:
		c.expend(sh, uninspected)
	case e.cfg.Midstream == Drop: // what follows is dropped without it, too
		c.expend(sh, ending)
	}
	e.end(sh, c, why)
}
