package stream

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

// recorder is an Inspector that keeps what it sees.
type recorder struct {
	data   [2][]byte
	closed []Reason
	say    func(d Direction, b []byte) Decision
}

func (r *recorder) Data(_ *Conn, d Direction, b []byte) Decision {
	if len(r.closed) > 0 || len(b) == 0 {
		panic("Data after Close, or without bytes")
	}
	r.data[d] = append(r.data[d], b...)
	if r.say != nil {
		return r.say(d, b)
	}
	return Continue
}

func (r *recorder) Close(_ *Conn, why Reason) { r.closed = append(r.closed, why) }

// A path loses, reorders and repeats packets. Each end is a host, and each sends its
// data again until it is acknowledged.
type path struct {
	*rand.Rand
	stage
	ends   [2]*host
	queues [2][2][]packet // by who sends, before the engine and behind it
	loss   int            // in 100, on each side of the engine
}

func (p *path) end(i int) *host {
	h := &host{window: 65535, habits: habits{lastWins: p.IntN(2) == 1, trims: p.IntN(2) == 1}, early: map[uint32]byte{}}
	h.send = func(q packet) { p.queues[i][0] = append(p.queues[i][0], q) }
	p.ends[i] = h
	return h
}

// take takes a packet of those on the way, seldom out of order, or again.
func (p *path) take(q *[]packet) (packet, bool) {
	if len(*q) == 0 {
		return packet{}, false
	}
	i := 0
	if p.IntN(10) < 3 {
		i = p.IntN(min(len(*q), 10))
	}
	r := (*q)[i]
	if p.IntN(20) != 0 {
		*q = append((*q)[:i], (*q)[i+1:]...)
	}
	return r, p.IntN(100) >= p.loss
}

// turn moves a few packets on.
func (p *path) turn() {
	for range 8 {
		i := p.IntN(2)
		if r, ok := p.take(&p.queues[i][0]); ok {
			r.changes = 0
			if p.pass(&r, uint8(i)) {
				p.queues[i][1] = append(p.queues[i][1], r)
			}
		}
		if r, ok := p.take(&p.queues[i][1]); ok {
			p.ends[1-i].receive(r, 7777)
		}
	}
}

// push has end i send what is not acknowledged of its data, cut anyhow, and the end.
func (p *path) push(i int, data []byte) {
	h := p.ends[i]
	if h.state != talking {
		if h.state == calling {
			h.emit(syn, h.isn, nil)
		}
		return
	}
	from := int(h.sndUna - (h.isn + 1))
	for burst := 0; burst < 6 && from <= len(data); burst++ {
		n := min(1+p.IntN(2000), len(data)-from)
		flags := uint8(ack)
		if from+n == len(data) {
			flags |= fin
		}
		h.sndNxt = later(h.sndNxt, h.isn+1+uint32(from+n))
		h.emit(flags, h.isn+1+uint32(from), data[from:from+n])
		if flags&fin != 0 {
			h.sndNxt = later(h.sndNxt, h.isn+2+uint32(len(data)))
			return
		}
		from += n
	}
}

// Honest ends under loss, reordering and repetition read all, and nothing of theirs is
// ever taken for an attack.
func TestHonestConnectionsAreWhole(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var rec *recorder
	e, err := New(Config{MaxConns: 16, MaxMemory: 4 << 20, Open: func(c *Conn) Inspector {
		rec = &recorder{}
		return rec
	}})
	if err != nil {
		t.Fatal(err)
	}
	conns := fewer(300)
	for i := range conns {
		p := &path{Rand: rand.New(rand.NewPCG(seed, uint64(i))), stage: stage{e: e}}
		p.loss = p.IntN(30)
		p.key = key{version: 6, aPort: uint16(i), bPort: 443}
		p.key.b[15] = 1
		var data [2][]byte
		for j := range data {
			data[j] = make([]byte, p.IntN(40000))
			for k := range data[j] {
				data[j][k] = byte(p.Uint32())
			}
		}
		client, server := p.end(0), p.end(1)
		client.call(uint32(p.Uint64()))
		rec = nil
		for round := 0; client.rcvWup == 0 || !client.ended || !server.ended ||
			client.sndUna != client.sndNxt || server.sndUna != server.sndNxt; round++ {
			if round == 20000 {
				t.Fatalf("seed %d, connection %d: it does not end: %d of %d and %d of %d bytes, %+v", seed, i,
					len(server.read), len(data[0]), len(client.read), len(data[1]), e.Stats())
			}
			p.turn()
			if len(p.queues[0][0]) < 3 {
				p.push(0, data[0])
			}
			if len(p.queues[1][0]) < 3 {
				p.push(1, data[1])
			}
		}
		if !bytes.Equal(server.read, data[0]) || !bytes.Equal(client.read, data[1]) {
			t.Fatalf("seed %d, connection %d: what was read is not what was sent", seed, i)
		}
		if !bytes.Equal(rec.data[ToServer], data[0]) || !bytes.Equal(rec.data[ToClient], data[1]) {
			t.Fatalf("seed %d, connection %d: what was inspected is not what was sent", seed, i)
		}
		for range 200 { // what is still on the way
			p.turn()
		}
		if len(rec.closed) > 1 || len(rec.closed) == 1 && rec.closed[0] != Finished {
			t.Errorf("seed %d, connection %d: closed because of %v", seed, i, rec.closed)
		}
	}
	e.Sweep()
	s := e.Stats()
	s.Dropped[SynAgain] = 0 // late ones, which say nothing any more
	if s.Dropped != (ByCause{}) {
		t.Errorf("dropped: %+v", s)
	}
	if s.Closed[Finished] < uint64(conns)*2/3 {
		t.Errorf("%d connections have finished: %+v", s.Closed[Finished], s)
	}
	t.Logf("%+v", s)
}

// Retransmissions that are cut in another way, into single bytes, and early ones in any
// order come to the same stream.
func TestAnyCutAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 300)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for i := range fewer(2000) {
		var rec recorder
		l := newLab(t, Config{Open: func(*Conn) Inspector { return &rec }})
		l.handshake()
		for !bytes.Equal(rec.data[ToServer], data) {
			from := r.IntN(len(data))
			n := min(1+r.IntN(1+r.IntN(40)), len(data)-from)
			if i%3 == 0 {
				n = 1
			}
			if !l.data(from, data[from:from+n]) {
				t.Fatal("an honest segment was dropped")
			}
			if !bytes.HasPrefix(data, rec.data[ToServer]) {
				t.Fatalf("% x is not the start of % x", rec.data[ToServer], data)
			}
		}
		if s := l.e.Stats(); s.Bytes != uint64(len(data)) {
			t.Fatalf("%d bytes inspected: %+v", s.Bytes, s)
		}
		l.e.now = func() uint32 { return uint32(2 * DefaultIdle / time.Second) }
		if l.e.Sweep(); len(rec.closed) != 1 || rec.closed[0] != Idle || l.e.Stats().Memory != 0 {
			t.Fatalf("closed because of %v, %+v", rec.closed, l.e.Stats())
		}
	}
}
