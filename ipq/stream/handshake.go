package stream

import (
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
)

// syn decides a segment with SYN. A direction begins where its receiver acknowledges
// that it does: of several segments with SYN a receiver takes one, and only its answer
// tells which. That holds for both ends that open at once, too.
func (e *Engine) syn(sh *shard, c *Conn, s *segment) ipq.Verdict {
	out, in := &c.ways[s.way], &c.ways[1-s.way]
	if !s.has(zerocopy.TCPAck) {
		switch {
		case c.phase == opening && !out.known:
			if !in.known {
				c.client = s.way
			}
			out.begin(s.seq)
			out.scale = s.scale
		case c.phase == opening && out.isn == s.seq:
		case (c.phase == open || c.phase == passed && !c.reset) && out.claims(s.seq, in.window):
			// What would follow it could be taken for what comes next in this one.
			return sh.drop(SynAgain)
		default:
			c.second = synAgain{seq: s.seq, asked: true, way: s.way, scale: s.scale, mark: out.next}
		}
		return ipq.Accept
	}
	if c.second.answeredBy(c, s) {
		second := c.second
		e.end(sh, c, Reused)
		c.restart(e.arena)
		c.client = second.way
		in.begin(second.seq)
		in.scale = second.scale
		c.expend(sh, ending)
	}
	switch {
	case c.phase == dropped:
		return sh.drop(FlowEnded)
	case c.phase == passed:
		return sh.pass()
	case !in.known && !out.known:
		c.midstream(s)
	case !in.known || s.ack != in.isn+1:
		return sh.drop(BadAck)
	case !out.confirmed:
		out.begin(s.seq)
		out.scale = s.scale
	case out.isn != s.seq:
		return sh.drop(BadAck)
	}
	in.confirmed = true
	in.edge = later(in.edge, s.ack+uint32(s.window)) // which is not scaled
	out.window = max(out.window, uint32(s.window))
	return e.establish(sh, c)
}

// answeredBy reports whether s is the answer to the segment with SYN, and not that to
// the first one, once more.
func (a *synAgain) answeredBy(c *Conn, s *segment) bool {
	if !a.asked || a.way == s.way || s.ack != a.seq+1 {
		return false
	}
	first := &c.ways[a.way]
	return !first.known || first.isn != a.seq || c.ways[s.way].isn != s.seq
}

// firstWindow is more than what a receiver takes before its peer has heard of it.
const firstWindow = 1 << 17

// claims reports whether the first bytes behind a segment with SYN could be taken for
// the bytes of w, by its receiver, whose windows were up to window.
func (w *way) claims(seq, window uint32) bool {
	return !before(w.edge, seq) && !before(seq+firstWindow, w.acked-max(window, slack))
}

// mayCarry reports whether s may have data of the connection that a segment with SYN
// asks for. Until that is answered, nobody may read it.
func (a *synAgain) mayCarry(c *Conn, s *segment) bool {
	if !a.asked || a.way != s.way || len(s.data) == 0 {
		return false
	}
	return c.phase == closed || c.phase == passed && (s.seq-a.seq < firstWindow || a.seq-s.seq < slack)
}

// midstream has a connection begin with s.
func (c *Conn) midstream(s *segment) {
	out, in := &c.ways[s.way], &c.ways[1-s.way]
	const widest = 14
	in.begin(s.ack - 1)
	in.confirmed, in.scale = true, scale{widest, true}
	if s.has(zerocopy.TCPSyn) {
		c.client = 1 - s.way
		out.begin(s.seq)
		out.scale = s.scale
		return
	}
	c.client = s.way
	out.begin(s.seq - 1)
	out.confirmed, out.scale = true, scale{widest, true}
	out.edge = s.seq + maxMaxBehind // until the receiver says
}

// establish opens the connection if both its directions are certain to have begun.
func (e *Engine) establish(sh *shard, c *Conn) ipq.Verdict {
	if c.phase != opening || !c.ways[0].confirmed || !c.ways[1].confirmed {
		return ipq.Accept
	}
	c.keep(sh)
	sh.count.opened.Add(1)
	c.phase = dropped // if Open panics
	i := e.cfg.Open(c)
	if i == nil {
		e.settle(sh, c, passed, Passed)
		return sh.pass()
	}
	c.phase = open
	e.inspectors[c.index] = i
	return ipq.Accept
}
