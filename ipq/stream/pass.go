package stream

import "github.com/goipq/goipq/internal/zerocopy"

// follow follows a connection that is not inspected, to know when it has ended. fresh is
// set for the first segment in a second.
func (c *Conn) follow(sh *shard, s *segment, fresh bool) {
	out, in := &c.ways[s.way], &c.ways[1-s.way]
	switch {
	case s.has(zerocopy.TCPRst):
		if out.near(s, in.window) {
			c.reset = true
			c.expend(sh, ending)
		}
		return
	case !s.has(zerocopy.TCPAck):
		return
	}
	if c.second.asked && c.second.way != s.way && before(c.second.mark, s.ack) && !before(in.next, s.ack) {
		c.second.asked = false // its receiver goes on with what it has
	}
	out.next = later(out.next, s.seq+uint32(len(s.data)))
	in.acked = later(in.acked, s.ack)
	c.windows(s)
	out.ends = out.ends || s.has(zerocopy.TCPFin)
	ended := out.ends && in.ends
	switch {
	case ended && !c.reset:
		c.reset = true
		c.expend(sh, ending)
	case !ended && (c.reset || fresh): // it goes on
		c.reset = false
		c.expend(sh, uninspected)
	}
}

// expend has c go when a place is needed, behind others in its queue.
func (c *Conn) expend(sh *shard, which uint8) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.expend(c, which)
}

// keep has c stay until it is idle.
func (c *Conn) keep(sh *shard) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.keep(c)
}
