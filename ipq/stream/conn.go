package stream

import (
	"net/netip"
	"sync"
)

// A Conn is a connection that an [Engine] keeps. It is borrowed: see [Config.Open].
type Conn struct {
	mu  sync.Mutex
	gen uint32 // of its place: changes as a connection leaves; under mu and the shard's

	// Under the shard's lock:
	index uint32 // of its place, from 1 on
	chain uint32 // the next of its bucket, or of the free places
	older uint32 // its neighbours in a queue of expendable ones
	newer uint32
	live  bool
	queue uint8

	// Under mu, but for key, which is the shard's, too:
	key    key
	client uint8 // which way ToServer is
	phase  phase
	reset  bool // a segment with RST came last, or the last FIN of one that is not inspected
	second synAgain
	seen   uint32 // when the last packet came, see Engine.clock
	ways   [2]way
}

// A key names a connection: its two ends in a fixed order.
type key struct {
	a, b         [16]byte // addresses, of IPv4 in the first four bytes
	aPort, bPort uint16
	version      uint8 // of IP
}

// The phases of a connection.
type phase uint8

const (
	opening phase = iota // its ends have not both acknowledged the other's beginning
	open                 // it has an Inspector
	closed               // both directions have ended, and it has no Inspector any more
	passed               // the rest is not inspected
	dropped              // the rest is dropped
)

// synAgain is a segment with SYN in a connection that has had another one: its receiver
// ignores it, or forgets the old connection for it, and then answers.
type synAgain struct {
	seq   uint32
	asked bool
	way   uint8
	scale scale
	mark  uint32 // where its direction was: who acknowledges more has ignored it
}

// A scale is that of a direction's windows: the shift, and whether it was told.
type scale struct {
	shift uint8
	told  bool
}

// A way is one of the two directions of a connection: that from its sender, to its
// receiver.
type way struct {
	isn   uint32 // where it began
	base  uint32 // where the bytes that are remembered begin
	acked uint32 // the receiver has what is before
	next  uint32 // what is before was inspected
	edge  uint32 // the receiver has room for what is before
	fin   uint32 // where it ends, if it does

	// Of the other way's windows, which its sender tells:
	window uint32 // the largest
	scale  scale

	known     bool // the segment with SYN has come
	confirmed bool // and its receiver has acknowledged it
	ends      bool // one with FIN has come
	ended     bool // and everything before it was inspected
	finAcked  bool

	remembered
}

// begin has the way begin at seq, of a segment with SYN.
func (w *way) begin(seq uint32) {
	w.isn, w.base, w.acked, w.next, w.edge = seq, seq+1, seq+1, seq+1, seq+1
	w.known = true
}

// Client returns the end that has opened the connection; see [ToServer].
func (c *Conn) Client() netip.AddrPort { return c.key.end(c.client == 0) }

// Server returns the other end.
func (c *Conn) Server() netip.AddrPort { return c.key.end(c.client != 0) }

// String returns for example "192.0.2.1:50000 > 192.0.2.2:443".
func (c *Conn) String() string { return c.Client().String() + " > " + c.Server().String() }

func (k *key) end(a bool) netip.AddrPort {
	addr, port := k.a, k.aPort
	if !a {
		addr, port = k.b, k.bPort
	}
	if k.version == 4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr[:4])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(addr), port)
}

// direction returns what the user calls the way w.
func (c *Conn) direction(w uint8) Direction {
	if w == c.client {
		return ToServer
	}
	return ToClient
}

// patience is how long the connection is kept without a packet, in seconds.
func (c *Conn) patience(idle uint32) uint32 {
	const (
		handshake = 30
		after     = 10 // it was closed, or reset
	)
	switch {
	case c.phase == opening:
		return min(handshake, idle)
	case c.phase == closed, c.reset:
		return min(after, idle)
	}
	return idle
}

// restart has the place of the connection taken by a new one of the same ends.
func (c *Conn) restart(a *arena) {
	for w := range c.ways {
		c.ways[w].clear(a)
	}
	c.ways = [2]way{}
	c.phase, c.reset, c.second = opening, false, synAgain{}
}
