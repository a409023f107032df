package stream

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
)

// An Engine keeps TCP connections, and shows their bytes to Inspectors. It is an
// [ipq.Handler], of one queue or of several at once: the two directions of a connection
// may come by different ones. One Engine is for one network: connections are told apart
// by their addresses and ports alone.
type Engine struct {
	cfg        Config
	seed       uint64
	start      time.Time
	now        func() uint32 // the clock, in seconds
	idle       uint32        // Config.Idle
	most       int           // blocks of early segments in one direction
	shards     []shard
	arena      *arena
	inspectors []Inspector // by index of their connection, under its lock
	closed     atomic.Bool
}

// New returns an Engine. It reserves all of its memory.
func New(c Config) (*Engine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg: c, seed: rand.Uint64(), start: time.Now(),
		idle: uint32(c.Idle / time.Second), most: c.MaxBehind / blockSize,
		arena:      newArena(c.MaxMemory),
		inspectors: make([]Inspector, c.MaxConns+1),
	}
	e.now = func() uint32 { return uint32(time.Since(e.start) / time.Second) }
	// Each with a thousand connections, so that they fill alike.
	n := 1
	for n < 64 && c.MaxConns/(2*n) >= 1024 {
		n *= 2
	}
	e.shards = make([]shard, n)
	conns := make([]Conn, c.MaxConns)
	for i := range e.shards {
		from, to := c.MaxConns*i/n, c.MaxConns*(i+1)/n
		e.shards[i].init(conns[from:to], uint32(from+1))
	}
	return e, nil
}

// HandlePacket implements [ipq.Handler].
func (e *Engine) HandlePacket(p *ipq.Packet) ipq.Verdict {
	var s segment
	why, ok := s.read(p, e.seed)
	switch {
	case ok:
	case s.notTCP && e.cfg.Other != nil:
		return e.cfg.Other.HandlePacket(p)
	case s.notTCP:
		return ipq.Accept
	default:
		return e.shard(p.FlowHash()).drop(why)
	}
	v := e.handle(&s)
	if p.CanBypass() {
		if s.opens() && v == ipq.Accept {
			// Packets in front of it may have had the rest of another connection settled,
			// or of none.
			if err := p.Unsettle(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				return e.shard(s.hash).drop(Settled)
			}
		}
	} else if v != v.Kind() {
		v = alone(v)
	}
	if s.changes == 0 || v.Kind() != ipq.Accept {
		return v
	}
	sh := e.shard(s.hash)
	if err := s.apply(p); err != nil {
		return sh.drop(Unchanged)
	}
	sh.count.changed.Add(1)
	return v
}

// NeedsWholePackets implements [ipq.WholePacketHandler].
func (e *Engine) NeedsWholePackets() bool { return true }

func (e *Engine) shard(hash uint64) *shard { return &e.shards[hash>>32%uint64(len(e.shards))] }

// drop counts a packet, and returns its verdict.
func (s *shard) drop(why Cause) ipq.Verdict {
	s.count.dropped[why].Add(1)
	return ipq.Drop
}

// alone returns a verdict of the Engine's without the wish to settle the flow.
func alone(v ipq.Verdict) ipq.Verdict {
	if v == ipq.RejectBoth.Bypass() {
		return ipq.RejectBoth
	}
	return v.Kind()
}

// pass counts a packet that is not inspected, and returns its verdict.
func (s *shard) pass() ipq.Verdict {
	s.count.uninspected.Add(1)
	return ipq.Accept.Bypass()
}

// handle decides a segment.
func (e *Engine) handle(s *segment) ipq.Verdict {
	sh, now := e.shard(s.hash), e.now()
	if places := sh.sweepDue(now); places > 0 {
		e.sweep(sh, now, places)
	}
	for {
		sh.mu.Lock()
		c := sh.find(&s.key, s.hash)
		if c == nil {
			if v, create := e.unknown(sh, s); !create {
				sh.mu.Unlock()
				return v
			}
			if c = sh.add(&s.key, s.hash, now); c == nil {
				victim := sh.victim()
				if victim == nil {
					sh.mu.Unlock()
					if e.cfg.OnLimit == PassFlow {
						return sh.pass()
					}
					return sh.drop(ConnLimit)
				}
				sh.remove(victim, victim.key.hash(e.seed))
				sh.mu.Unlock()
				sh.count.evicted.Add(1)
				e.leave(sh, victim, Evicted)
				continue
			}
		}
		gen := c.gen
		sh.mu.Unlock()
		c.mu.Lock()
		if c.gen == gen {
			return e.decide(sh, c, s, now)
		}
		c.mu.Unlock() // it has left meanwhile
	}
}

// unknown says what becomes of a segment whose connection is not kept, unless one is to
// be kept from now on.
func (e *Engine) unknown(sh *shard, s *segment) (v ipq.Verdict, create bool) {
	switch {
	case e.closed.Load():
		return sh.drop(AfterClose), false
	case s.has(zerocopy.TCPRst):
		return ipq.Accept, false // it has no bytes
	case s.opens(), e.cfg.Midstream == Inspect:
		return 0, true
	case e.cfg.Midstream == Pass:
		return sh.pass(), false
	}
	return sh.drop(NoConnection), false
}

// decide decides a segment of c, whose lock is held until then.
func (e *Engine) decide(sh *shard, c *Conn, s *segment, now uint32) ipq.Verdict {
	defer c.mu.Unlock()
	fresh := c.seen != now
	c.seen = now
	switch {
	case s.has(zerocopy.TCPSyn):
		return e.syn(sh, c, s)
	case c.second.mayCarry(c, s):
		return sh.drop(NoConnection)
	case c.phase == passed:
		c.follow(sh, s, fresh)
		if c.second.asked { // what follows may be the other connection's
			return alone(sh.pass())
		}
		return sh.pass()
	}
	return e.step(sh, c, s)
}

// sweep looks for idle connections, at so many places.
func (e *Engine) sweep(sh *shard, now uint32, places int) {
	for places > 0 {
		var c *Conn
		sh.mu.Lock()
		if c, places = sh.idler(now, e.idle, places); c != nil {
			sh.remove(c, c.key.hash(e.seed))
		}
		sh.mu.Unlock()
		if c == nil {
			return
		}
		why := Idle
		if c.reset {
			why = Aborted
		}
		e.leave(sh, c, why)
	}
}

// leave ends a connection, which was removed, and frees its place. Its lock, which is
// held, is not when it returns.
func (e *Engine) leave(sh *shard, c *Conn, why Reason) {
	defer func() {
		c.restart(e.arena)
		sh.mu.Lock()
		sh.release(c)
		sh.mu.Unlock()
		c.mu.Unlock()
	}()
	if c.phase == dropped { // its Inspector, if it still has one, has panicked
		why = Dropped
	}
	e.end(sh, c, why)
}

// end tells the Inspector of c, if it has one, that it sees no more.
func (e *Engine) end(sh *shard, c *Conn, why Reason) {
	i := e.inspectors[c.index]
	if i == nil {
		return
	}
	e.inspectors[c.index] = nil
	sh.count.closed[why].Add(1)
	i.Close(c, why)
}

// Sweep looks at all connections, and ends those that are idle. Packets have that done
// little by little, so it is for programs that need to be told when no packets come.
func (e *Engine) Sweep() {
	now := e.now()
	for i := range e.shards {
		e.sweep(&e.shards[i], now, len(e.shards[i].conns))
	}
}

// Close ends all connections: it calls the Close of each Inspector, and returns when
// they have returned. TCP that comes later is dropped. An Inspector must not call it.
func (e *Engine) Close() error {
	e.closed.Store(true)
	for i := range e.shards {
		sh := &e.shards[i]
		for j := range sh.conns {
			c := &sh.conns[j]
			c.mu.Lock()
			sh.mu.Lock()
			live := c.live
			if live {
				sh.remove(c, c.key.hash(e.seed))
			}
			sh.mu.Unlock()
			if live {
				e.leave(sh, c, Shutdown)
			} else {
				c.mu.Unlock()
			}
		}
	}
	return nil
}

// Stats returns what the Engine has counted.
func (e *Engine) Stats() Stats {
	var s Stats
	for i := range e.shards {
		sh := &e.shards[i]
		sh.mu.Lock()
		s.Open += uint64(sh.open)
		sh.mu.Unlock()
		sh.count.addTo(&s)
	}
	s.Memory = uint64(e.arena.used())
	return s
}
