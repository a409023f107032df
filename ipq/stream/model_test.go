package stream

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	modelSeed  = flag.Uint64("seed", 0, "of the first hostile connection; 0: by the clock")
	modelConns = flag.Int("conns", 20000, "hostile connections against the model of a receiver")
)

// A chooser makes a generator's choices: at random, or from a fuzzer's bytes.
type chooser interface {
	IntN(n int) int
}

// fuzzed chooses by bytes. When they are used up it chooses 0.
type fuzzed struct{ b []byte }

func (f *fuzzed) IntN(n int) int {
	if len(f.b) == 0 {
		return 0
	}
	v := int(f.b[0])
	f.b = f.b[1:]
	if n > 256 && len(f.b) > 0 {
		v = v<<8 | int(f.b[0])
		f.b = f.b[1:]
	}
	return v % n
}

// seen is what an Inspector has seen of a connection in the direction to the receiver.
type seen struct {
	isn, irs uint32 // of the receiver, and of its peer
	data     []byte
	limit    int // what the receiver may read: before the bytes that were dropped; -1: all
	passed   bool
}

// A duel is a hostile sender against a receiver, with an engine between them.
type duel struct {
	chooser
	stage
	h        *host
	way      uint8 // from the sender
	versions [3][]byte
	base     uint32 // where their first byte is
	isn      uint32 // of the sender
	ts       uint32
	held     []packet
	answers  []packet // of the receiver, that have not come to the engine yet
	inspects []*seen
	odds     int // of a Drop, in 1000 calls of Data
	log      []event
}

// modelEngine returns an engine for duels: small, so that its limits are met.
func modelEngine(t testing.TB, open func(c *Conn) Inspector) *Engine {
	t.Helper()
	e, err := New(Config{
		MaxConns: 24, MaxMemory: minMaxMemory, Idle: 60 * time.Second,
		Open: open,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// watcher is an Inspector in a duel.
type watcher struct {
	d  *duel
	to Direction // the receiver
	s  *seen
}

func (w *watcher) Data(c *Conn, d Direction, b []byte) Decision {
	if d != w.to {
		return Continue
	}
	if w.s.limit >= 0 || w.s.passed {
		panic("Data after Drop or Pass")
	}
	before := len(w.s.data)
	w.s.data = append(w.s.data, b...)
	switch n := w.d.IntN(1000); {
	case n < w.d.odds:
		w.s.limit = before
		return Drop
	case n < w.d.odds+1 && w.d.odds > 0:
		w.s.passed = true
		return Pass
	}
	return Continue
}

func (w *watcher) Close(*Conn, Reason) {}

func (d *duel) open(c *Conn) Inspector {
	s := &seen{isn: c.ways[1-d.way].isn, irs: c.ways[d.way].isn, limit: -1}
	d.inspects = append(d.inspects, s)
	to := ToServer
	if c.client != d.way {
		to = ToClient
	}
	return &watcher{d, to, s}
}

// An event is a packet of the sender, and the receiver as it came.
type event struct {
	clock                uint32
	flags                uint8
	lost, broken, passed bool
	seq, ack             uint32 // counted from the stream's begin, and from what the receiver has sent
	data                 int
	state                int
	next                 uint32
}

func (e event) String() string {
	return fmt.Sprintf("%d: flags %02x seq %+d ack %+d len %d lost %v broken %v: passed %v, to a receiver in state %d at %+d",
		e.clock, e.flags, int32(e.seq), int32(e.ack), e.data, e.lost, e.broken, e.passed, e.state, int32(e.next))
}

// deliver sends a packet of the sender through the engine to the receiver.
func (d *duel) deliver(p packet) {
	p.changes = 0
	passed := d.pass(&p, d.way)
	h := d.h
	d.log = append(d.log, event{d.clock, p.flags, p.lost, p.broken, passed, p.seq - d.base, p.ack - h.sndNxt, len(p.data), h.state, h.rcvNxt - d.base})
	if passed {
		d.h.receive(p, uint32(d.IntN(1<<16))<<16)
	}
}

func (d *duel) oneIn(n int) bool { return d.IntN(n) == n-1 }

// next makes the sender's next packet.
func (d *duel) next() packet {
	d.ts++
	h := d.h
	p := packet{ts: d.ts, lost: d.oneIn(5), broken: d.oneIn(25), urgent: uint16(d.IntN(20))}
	p.window = uint16([]int{65535, 65535, 100, 0}[d.IntN(4)])
	switch {
	case h.state == listening || h.state == over && h.reopens && d.oneIn(3), d.oneIn(60):
		p.flags = syn
		if h.state == over && d.oneIn(2) { // which the engine lets pass
			d.base += uint32(1+d.IntN(1000)) << 20
			d.isn = d.base - 1
		} else if h.state == listening || d.oneIn(2) || d.oneIn(8) {
			d.isn = d.base - 1 + uint32(d.IntN(3)*d.IntN(30))
		}
		if d.oneIn(6) {
			d.isn += uint32(d.IntN(40)) - 20
		}
		p.seq = d.isn
		if d.oneIn(4) {
			p.data = d.bytes(p.seq+1, d.IntN(10))
		}
		return p
	case h.state == calling || d.oneIn(80):
		p.flags, p.seq, p.ack = syn|ack, d.isn, h.isn+1
		switch d.IntN(8) {
		case 0:
			p.flags = syn
		case 1, 2:
			p.seq = d.base - 1 + uint32(d.IntN(40)) - 20
		case 3:
			p.ack += uint32(d.IntN(3)) - 1
		}
		if h.state == calling && !p.lost && d.oneIn(3) {
			d.isn = p.seq
		}
		if d.oneIn(6) {
			p.data = d.bytes(p.seq+1, d.IntN(10))
		}
		return p
	}
	p.flags, p.ack = ack, h.sndNxt-uint32(d.IntN(2)*d.IntN(10))
	if h.state == answering {
		p.ack = h.sndNxt
	}
	n := 1 + d.IntN(20)
	switch d.IntN(8) {
	case 0, 1, 2: // what is next
		p.seq = h.rcvNxt
	case 3, 4, 5: // about there
		p.seq = h.rcvNxt + uint32(d.IntN(90)) - 30
	case 6: // one byte
		p.seq, n = h.rcvNxt+uint32(d.IntN(6)), 1
	case 7: // none
		p.seq, n = h.rcvNxt+uint32(d.IntN(3))-1, 0
	}
	switch d.IntN(60) {
	case 1:
		p.flags |= fin
	case 2:
		p.flags, n = rst, n*d.IntN(2)
	case 3, 4, 5:
		p.flags |= urg
	case 6:
		p.flags &^= ack
	case 7:
		p.ack += uint32(d.IntN(1 << 16))
	case 8:
		p.ack -= 1 << 20
	case 9:
		p.seq += uint32(d.IntN(1<<16))<<16 | 1<<14
	case 10, 11:
		p.ts -= 100
	case 12:
		p.flags, p.seq, n = rst|ack, h.rcvNxt, 0
	case 13:
		p.flags |= fin
		p.seq, n = h.rcvNxt, d.IntN(5)
	}
	p.data = d.bytes(p.seq, n)
	return p
}

// bytes are those of one of the versions.
func (d *duel) bytes(seq uint32, n int) []byte {
	at, v := seq-d.base, d.versions[0]
	if d.oneIn(3) {
		v = d.versions[1+d.IntN(2)]
	}
	if int(at) < 0 || int(at)+n > len(v) {
		return bytes.Repeat([]byte{byte('0' + d.IntN(10))}, n)
	}
	return v[at:][:n]
}

// versions are streams that differ here and there.
func newVersions(c chooser) (v [3][]byte) {
	for i := range v {
		v[i] = make([]byte, 4000)
		for j := range v[i] {
			v[i][j] = 'a' + byte(j)%26
			if i > 0 && c.IntN(4) == 0 {
				v[i][j] = 'A' + byte(i)
			}
		}
	}
	return v
}

// run plays a connection of so many packets, and returns what is wrong.
func (d *duel) run(packets int) error {
	d.h.send = func(p packet) { d.answers = append(d.answers, p) }
	d.base = uint32(d.IntN(1<<16))<<16 | uint32(d.IntN(1<<16))
	if d.oneIn(3) {
		d.base = -uint32(d.IntN(60)) // and wraps around
	}
	d.isn = d.base - 1
	if d.oneIn(2) {
		d.h.call(uint32(d.IntN(1<<16)) << 16)
	}
	for range packets {
		// The sender knows of them anyway, but for the receiver's initial number, which
		// it cannot guess.
		for len(d.answers) > 0 && (d.h.state == calling || d.h.state == answering || !d.oneIn(4)) {
			d.pass(&d.answers[0], 1-d.way)
			d.answers = d.answers[1:]
		}
		switch n := d.IntN(100); {
		case n < 10 && len(d.held) > 0: // again, or late
			p := d.held[d.IntN(len(d.held))]
			p.lost = false
			d.deliver(p)
		case n < 12:
			d.h.write([]byte("0123456789")[:1+d.IntN(9)])
		case n < 13:
			d.clock += uint32([]int{1, 8, 40, 100}[d.IntN(4)])
		case n < 15:
			d.h.window = uint32([]int{0, 10, 60, 65535}[d.IntN(4)])
			if d.h.state == talking {
				d.h.acknowledge()
			}
		default:
			p := d.next()
			if d.oneIn(4) && len(d.held) < 20 {
				d.held = append(d.held, p)
			}
			if !d.oneIn(6) {
				d.deliver(p)
			}
		}
		if err := d.judge(); err != nil {
			return err
		}
	}
	return nil
}

// judge compares what was read with what was inspected.
func (d *duel) judge() error {
	all := d.h.done
	if len(d.h.read) > 0 {
		all = append(all[:len(all):len(all)], connection{d.h.isn, d.h.irs, d.h.read})
	}
	for _, c := range all {
		var s *seen
		for _, i := range d.inspects {
			if i.isn == c.isn && i.irs == c.irs {
				s = i
			}
		}
		switch {
		case s == nil:
			return fmt.Errorf("nobody has inspected what was read: %q", c.read)
		case s.passed:
		case !bytes.HasPrefix(s.data, c.read):
			return fmt.Errorf("read %q, inspected %q", c.read, s.data)
		case s.limit >= 0 && len(c.read) > s.limit:
			return fmt.Errorf("read %q, where %q were dropped", c.read, s.data[s.limit:])
		}
	}
	return nil
}

// newDuel makes a duel of a kind of receiver that c chooses, on an engine that others
// use, too.
func newDuel(c chooser, e *Engine, clock uint32, versions [3][]byte, n int) *duel {
	d := &duel{chooser: c, versions: versions, odds: 20 * c.IntN(2)}
	d.stage = stage{e: e, clock: clock, key: key{version: 4, aPort: uint16(n), bPort: 80}}
	d.key.a[0], d.key.b[0] = 1, 2
	d.way = uint8(c.IntN(2))
	bit := func() bool { return c.IntN(2) == 1 }
	d.h = &host{window: 65535, habits: habits{bit(), bit(), bit(), bit(), bit(), bit(), bit(), false}}
	d.h.early = map[uint32]byte{}
	return d
}

// The promise: what a receiver's application reads was inspected, in that order.
// Senders do what they can to have it read something else.
func TestPromiseAgainstModel(t *testing.T) {
	first := *modelSeed
	if first == 0 {
		first = rand.Uint64()
	}
	t.Logf("-seed %d -conns %d", first, *modelConns)
	conns := fewer(*modelConns)
	var d *duel
	e := modelEngine(t, func(c *Conn) Inspector { return d.open(c) })
	e.now = func() uint32 { return d.clock }
	versions := newVersions(rand.New(rand.NewPCG(first, 0)))
	var read, clock int
	clock = 1
	for i := range conns {
		r := rand.New(rand.NewPCG(first+uint64(i), 1))
		d = newDuel(r, e, uint32(clock), versions, i%4096)
		err := d.run(20 + r.IntN(80))
		clock = int(d.clock) + 61 // so that this one is not the next one's past
		if err != nil {
			for _, l := range d.log {
				t.Log(l)
			}
			t.Fatalf("-seed %d -conns 1: %+v: %v", first+uint64(i), d.h.habits, err)
		}
		read += len(d.h.read)
		for _, c := range d.h.done {
			read += len(c.read)
		}
		e.Sweep()
	}
	if e.Close(); e.Stats().Memory != 0 || e.Stats().Open != 0 {
		t.Errorf("at the end: %+v", e.Stats())
	}
	s := e.Stats()
	t.Logf("%d bytes read; %+v", read, s)
	if read < conns {
		t.Errorf("%d connections have read %d bytes: the senders do not get far", conns, read)
	}
}

func FuzzPromise(f *testing.F) {
	versions := newVersions(rand.New(rand.NewPCG(1, 0)))
	f.Add([]byte("hostile"), uint16(0))
	var d *duel
	e := modelEngine(f, func(c *Conn) Inspector { return d.open(c) })
	e.now = func() uint32 { return d.clock }
	clock := uint32(1)
	f.Fuzz(func(t *testing.T, choices []byte, seed uint16) {
		d = newDuel(&fuzzed{choices}, e, clock, versions, int(seed))
		err := d.run(1 + len(choices)/8)
		if err != nil {
			t.Errorf("%v\n%+v\n%v", err, d.h.habits, d.log)
		}
		d.clock += 100 // by which all are idle
		e.Sweep()
		if s := e.Stats(); s.Open != 0 || s.Memory != 0 {
			t.Errorf("at the end: %+v", s)
		}
		clock = d.clock
	})
}
