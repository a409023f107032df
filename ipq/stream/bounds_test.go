package stream

import (
	"bytes"
	"reflect"
	"runtime"
	"sync"
	"testing"

	"github.com/goipq/goipq/internal/race"
)

// other sends a segment of another connection, told apart by its client's port.
func (l *lab) other(port int, way, flags uint8, seq, ackSeq uint32, data []byte) bool {
	p := packet{segment: segment{flags: flags, seq: seq, ack: ackSeq, window: 65535, data: data}}
	k := l.key
	l.key.aPort = uint16(port)
	l.key.a[1] = byte(port >> 16)
	defer func() { l.key = k }()
	return l.pass(&p, way)
}

func (l *lab) otherHandshake(port int) bool {
	return l.other(port, 0, syn, 0, 0, nil) && l.other(port, 1, syn|ack, 0, 1, nil) && l.other(port, 0, ack, 1, 1, nil)
}

// A flood of SYNs takes no more places than there are, and none of those of established
// connections; honest ones go on being opened.
func TestBoundsUnderSynFlood(t *testing.T) {
	rec := &recorder{}
	l := newLab(t, Config{MaxConns: 64, Open: func(*Conn) Inspector { return rec }})
	l.handshake()
	for i := range 100000 {
		l.other(1<<16+i, 0, syn, uint32(i), 0, nil)
		if i%1000 == 0 && !l.otherHandshake(i/1000) && i/1000 < 63 {
			t.Fatalf("honest connection %d is not opened: %+v", i/1000, l.e.Stats())
		}
	}
	if s := l.e.Stats(); s.Open != 64 || s.Opened != 64 || s.Dropped[ConnLimit] == 0 {
		t.Errorf("%+v", s)
	}
	if !l.text(0, "abc") || string(rec.data[ToServer]) != "abc" {
		t.Errorf("the first connection is gone: %+v", l.e.Stats())
	}
	l.clock += 3 * 3600
	if l.e.Sweep(); l.e.Stats().Open != 0 || len(rec.closed) != 64 {
		t.Errorf("%d closed, %+v", len(rec.closed), l.e.Stats())
	}
}

// With PassFlow the connection that finds no place passes.
func TestNoPlace(t *testing.T) {
	for _, on := range []Limit{DropFlow, PassFlow} {
		l := newLab(t, Config{MaxConns: 1, OnLimit: on, Open: func(*Conn) Inspector { return &recorder{} }})
		l.handshake()
		if passed := l.otherHandshake(1); passed && on == DropFlow {
			t.Errorf("%v: %v, %+v", on, passed, l.e.Stats())
		} else if on == PassFlow && l.e.Stats().Uninspected == 0 {
			t.Errorf("%v: %+v", on, l.e.Stats())
		}
	}
}

// Connections that are not inspected take no place from others: they leave when they
// have ended, and make place, those first that have been silent for longest.
func TestBoundsUninspected(t *testing.T) {
	l := newLab(t, Config{MaxConns: 16, Open: func(c *Conn) Inspector {
		if c.Client().Port() == 40000 {
			return &recorder{}
		}
		return nil
	}})
	l.handshake()
	l.otherHandshake(1)
	for i := range 1000 {
		l.clock++
		if !l.otherHandshake(1000 + i) {
			t.Fatalf("connection %d finds no place: %+v", i, l.e.Stats())
		}
		if !l.other(1, 0, ack, uint32(1+i), 1, []byte("x")) {
			t.Fatalf("one that is not silent is gone: %+v", l.e.Stats())
		}
	}
	if !l.text(0, "abc") {
		t.Errorf("one that is inspected is gone: %+v", l.e.Stats())
	}
	if s := l.e.Stats(); s.Open != 16 || s.Evicted != 1002-16 {
		t.Errorf("%+v", s)
	}
	for _, end := range []func(port int){
		func(port int) {
			l.other(port, 0, fin|ack, 1, 1, nil)
			l.other(port, 1, fin|ack, 1, 2, nil)
			l.other(port, 0, ack, 2, 2, nil)
		},
		func(port int) { l.other(port, 1, rst|ack, 1, 1, nil) },
	} {
		l.otherHandshake(5000)
		before := l.e.Stats().Open
		l.other(5000, 0, rst, 1<<25, 1, nil) // which is out of its window
		l.clock += 20
		if l.e.Sweep(); l.e.Stats().Open != before {
			t.Errorf("it has left by a forged RST: %+v", l.e.Stats())
		}
		end(5000)
		l.clock += 20
		if l.e.Sweep(); l.e.Stats().Open != before-1 {
			t.Errorf("it has not left: %+v", l.e.Stats())
		}
	}
}

// A flood of gaps takes no more than half of the memory, and connections in order, and
// those whose gaps are filled, go on.
func TestBoundsUnderGapFlood(t *testing.T) {
	rec := &recorder{}
	l := newLab(t, Config{MaxConns: 2000, MaxBehind: minMaxBehind, Open: func(*Conn) Inspector { return rec }})
	l.handshake()
	var dropped bool
	for i := range 1000 {
		l.otherHandshake(i)
		for j := range 40 {
			if !l.other(i, 0, ack, uint32(100+2*j), 1, []byte{1}) {
				dropped = true
			}
		}
		if m := l.e.Stats().Memory; m > minMaxMemory/2 {
			t.Fatalf("%d bytes are in use", m)
		}
	}
	if s := l.e.Stats(); !dropped || s.Dropped[Ahead] == 0 || s.Dropped[MemoryLimit] != 0 {
		t.Errorf("%+v", s)
	}
	for i := range 100 {
		if !l.data(i*1000, make([]byte, 1000)) || !l.ackTo((i+1)*1000) {
			t.Fatalf("a connection in order does not go on: %+v", l.e.Stats())
		}
	}
	before := len(rec.data[ToServer])
	if l.other(0, 0, ack, 1, 1, make([]byte, 99)); len(rec.data[ToServer]) != before+100 {
		t.Errorf("a gap is filled, and %d bytes are inspected", len(rec.data[ToServer])-before)
	}
}

// When little memory is left, connections that have much of it get no more, until their
// receivers acknowledge.
func TestBoundsBehindWhenScarce(t *testing.T) {
	l := newLab(t, Config{MaxConns: 1000, MaxMemory: 4 << 20, MaxBehind: 1 << 20, Open: func(*Conn) Inspector { return &recorder{} }})
	l.handshake()
	b := make([]byte, 1024)
	sent := 0
	for ; sent < minMaxBehind+4096; sent += len(b) {
		if !l.data(sent, b) {
			t.Fatalf("%d bytes are too much: %+v", sent, l.e.Stats())
		}
	}
	most, others := uint64(4<<20)*7/10, 0
	for ; l.e.Stats().Memory < most; others++ {
		l.otherHandshake(others)
		for i := range 50 {
			l.other(others, 0, ack, uint32(1+i*len(b)), 1, b)
		}
	}
	if !l.data(sent, b) {
		t.Fatalf("refused with %d bytes in use", l.e.Stats().Memory)
	}
	sent += len(b)
	for range 10 {
		l.otherHandshake(others)
		for i := range 50 {
			l.other(others, 0, ack, uint32(1+i*len(b)), 1, b)
		}
		others++
	}
	if l.data(sent, b) || l.dropped(Behind) != 1 {
		t.Errorf("%+v", l.e.Stats())
	}
	if !l.ackTo(8192) || !l.data(sent, b) {
		t.Errorf("it does not go on: %+v", l.e.Stats())
	}
}

// What is not acknowledged is bounded for each direction, and for all together.
func TestBoundsBehind(t *testing.T) {
	l := newLab(t, Config{MaxBehind: minMaxBehind, Open: func(*Conn) Inspector { return &recorder{} }})
	l.handshake()
	b := make([]byte, 1024)
	for i := range minMaxBehind / len(b) {
		if !l.data(i*len(b), b) {
			t.Fatalf("%d bytes are too much: %+v", i*len(b), l.e.Stats())
		}
	}
	if l.data(minMaxBehind, b) || l.dropped(Behind) != 1 {
		t.Errorf("%+v", l.e.Stats())
	}
	if !l.ackTo(1024) || !l.data(minMaxBehind, b) {
		t.Errorf("it does not go on: %+v", l.e.Stats())
	}
	for _, on := range []Limit{DropFlow, PassFlow} {
		var closed []Reason
		l := newLab(t, Config{MaxConns: 100, OnLimit: on, Open: func(*Conn) Inspector {
			r := &recorder{}
			closed = r.closed
			return r
		}})
		l.handshake()
		passed := true
		for i := 0; i < 64 && passed && l.e.Stats().Closed[Limited] == 0; i++ {
			l.otherHandshake(i)
			for j := range 32 {
				passed = passed && l.other(i, 0, ack, uint32(1+j*1024), 1, b)
			}
		}
		s := l.e.Stats()
		if s.Closed[Limited] != 1 || passed != (on == PassFlow) || s.Memory > minMaxMemory || (s.Dropped[MemoryLimit] == 1) == passed {
			t.Errorf("%v: %v, %+v, %v", on, passed, s, closed)
		}
	}
}

// In order, nothing is allocated.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	var n int
	i := counter{&n}
	l := newLab(t, Config{Open: func(*Conn) Inspector { return i }})
	l.handshake()
	b := bytes.Repeat([]byte("x"), 1400)
	offset := 0
	s := segment{key: l.key, hash: l.key.hash(l.e.seed), flags: ack, ack: serverISN + 1, window: 65535, data: b}
	a := segment{key: l.key, hash: s.hash, flags: ack, seq: serverISN + 1, window: 65535, way: 1}
	if allocs := testing.AllocsPerRun(1000, func() {
		s.seq = l.seq(offset)
		offset += len(b)
		a.ack = l.seq(offset)
		l.e.handle(&s)
		l.e.handle(&a)
	}); allocs != 0 || n != offset {
		t.Errorf("%v allocations, %d of %d bytes", allocs, n, offset)
	}
}

type counter struct{ n *int }

func (c counter) Data(_ *Conn, _ Direction, b []byte) Decision { *c.n += len(b); return Continue }
func (c counter) Close(*Conn, Reason)                          {}

// What Config.MaxConns says a connection takes is so: its place, its part of the
// buckets (two of four bytes, at the most), and its Inspector's.
func TestBytesOfConnection(t *testing.T) {
	if n := reflect.TypeFor[Conn]().Size() + 8 + reflect.TypeFor[Inspector]().Size(); n > 250 {
		t.Errorf("%d bytes", n)
	}
}

// A million idle connections take the memory that New has reserved for them, and it is
// no more than 300 bytes for each, but for what their Inspectors are.
func TestBytesOfMillionConnections(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector takes memory for itself")
	}
	const conns = 1000000
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	was := used()
	var n int
	l := newLab(t, Config{MaxConns: conns * 21 / 20, Open: func(*Conn) Inspector { return counter{&n} }})
	for i := range conns {
		if !l.otherHandshake(i) {
			t.Fatalf("connection %d is not opened: %+v", i, l.e.Stats())
		}
	}
	per := float64(used()-was) / conns
	t.Logf("%.1f bytes a connection", per)
	if s := l.e.Stats(); s.Open != conns || s.Opened != conns || per > 300 {
		t.Errorf("%v bytes a connection, of %d that are open", per, s.Open)
	}
}

// The directions of a connection, and others, come at once.
func TestConcurrent(t *testing.T) {
	var mu sync.Mutex
	open := map[*Conn]*recorder{}
	e, err := New(Config{MaxConns: 64, MaxMemory: minMaxMemory, Open: func(c *Conn) Inspector {
		mu.Lock()
		defer mu.Unlock()
		open[c] = &recorder{}
		return open[c]
	}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		for way := range uint8(2) {
			wg.Go(func() {
				l := &lab{t: t, stage: stage{e: e}}
				l.key = key{version: 4, bPort: 80}
				for i := range 2000 {
					port := i%50 + w%2
					switch i % 7 {
					case 0:
						l.other(port, 0, syn, 0, 0, nil)
						l.other(port, 1, syn|ack, 0, 1, nil)
						l.other(port, 0, ack, 1, 1, nil)
					case 6:
						l.other(port, way, rst, 1, 0, nil)
						e.Sweep()
					default:
						l.other(port, way, ack, 1, 1, []byte("abc"))
						l.other(port, 1-way, ack, 1, 4, []byte("abc"))
					}
				}
			})
		}
	}
	wg.Wait()
	if e.Close(); e.Stats().Open != 0 || e.Stats().Memory != 0 {
		t.Errorf("%+v", e.Stats())
	}
}
