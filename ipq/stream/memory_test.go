package stream

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/goipq/goipq/ipq"
)

// A fakeBuffer is one of a packet's.
type fakeBuffer struct{ b []byte }

func (f *fakeBuffer) Exchange(buf []byte) (old []byte, ok bool) {
	old, f.b = f.b, buf
	return old, true
}

// What is remembered is what was added, in order and early, by copies and in the buffers
// that it came in, of several directions that share an arena until its free blocks lie in
// pieces; and all of it comes back.
func TestRemembered(t *testing.T) {
	const chunks, size = 9, 9 * perChunk // blocks that the directions have at most together, nearly
	a := newArena(chunks * ipq.BufferSize)
	rnd := rand.New(rand.NewPCG(1, 2))
	stream := make([]byte, 1<<21)
	for i := range stream {
		stream[i] = byte(rnd.Uint32())
	}
	var dirs [3]struct {
		remembered
		base, next uint32 // nothing before base is remembered; nothing from next on is inspected
	}
	var refused, kept int
	var of fakeBuffer
	of.b = make([]byte, ipq.BufferSize)
	for range 20000 {
		d := &dirs[rnd.IntN(len(dirs))]
		if int(d.next)+1<<18 > len(stream) { // over again
			d.clear(a)
			d.base, d.next = 0, 0
		}
		n := uint32(1 + rnd.IntN(8*blockSize))
		if rnd.IntN(4) == 0 {
			n = uint32(1 + rnd.IntN(65000))
		}
		var from buffer
		if rnd.IntN(2) == 0 {
			from = &of
		}
		// came is n bytes of the stream in a buffer, which is used for others after it
		// was added, unless it was exchanged.
		came := func(seq uint32) []byte {
			at := 100 + rnd.IntN(2000)
			return of.b[at : at+copy(of.b[at:], stream[seq:seq+n])]
		}
		switch rnd.IntN(4) {
		case 0: // early, and of itself in several pieces
			seq := d.next + 1 + rnd.Uint32N(16*blockSize)
			if i, ok := d.add(a, seq, came(seq), from, true, size/4); !ok {
				refused++
			} else {
				a.decided(i)
			}
		case 1:
			d.base = d.forget(a, d.base+rnd.Uint32N(d.next-d.base+1), d.base)
		default:
			i, ok := d.add(a, d.next, came(d.next), from, false, 0)
			a.decided(i)
			if !ok {
				refused++
				d.clear(a)
				d.base = d.next
				continue
			}
			d.next += n
			for more := true; more; {
				d.reached(a, d.next)
				var b []byte
				if b, more = d.step(a, d.next); more {
					d.next += uint32(len(b))
				}
			}
		}
		clear(of.b)
		used, early := 0, 0
		for i := range dirs {
			d, end, was := &dirs[i], uint32(0), early
			for j := d.head; j != 0; j = a.blocks[j].next {
				k := &a.blocks[j]
				if k.n == 0 || before(k.seq, end) || !bytes.Equal(a.data(j), stream[k.seq:k.end()]) {
					t.Fatalf("block %d, %+v, is not what was added", j, *k)
				}
				bytes := blockSize
				if a.size(j) == perChunk {
					bytes = ipq.BufferSize
					kept++
				}
				if used, end = used+bytes, k.end(); k.early {
					early += a.size(j)
				}
				if a.blocks[j].next == 0 && j != d.tail {
					t.Fatalf("the last block is %d, not %d", j, d.tail)
				}
			}
			if early-was != int(d.early) {
				t.Fatalf("%d blocks are early, not %d", early-was, d.early)
			}
		}
		if used != a.used() || early != a.early {
			t.Fatalf("%d bytes are in use, %d blocks of them early, not %d and %d", used, early, a.used(), a.early)
		}
	}
	for i := range dirs {
		dirs[i].clear(a)
	}
	if a.used() != 0 || a.early != 0 || a.left != chunks || a.open != 0 || refused == 0 || kept == 0 {
		t.Errorf("%d bytes are left, %d blocks of them early, %d chunks are empty; %d were refused, %d kept",
			a.used(), a.early, a.left, refused, kept)
	}
}

// The bytes of a super-packet stay in the buffer that it came in. Where the connection is
// decided by it, that buffer is not used again: the packet may still be read.
func TestBufferOfDecidedPacket(t *testing.T) {
	for _, decision := range []Decision{Continue, Pass, Drop, Reset} {
		l := newLab(t, Config{Open: func(*Conn) Inspector { return decider(decision) }})
		l.handshake()
		was := make([]byte, ipq.BufferSize)
		in := fakeBuffer{was}
		l.e.handle(&segment{key: l.key, hash: l.key.hash(l.e.seed), flags: ack, seq: l.seq(0), ack: serverISN + 1,
			window: 65535, data: was[100:60100], in: &in})
		if &in.b[0] == &was[0] {
			t.Errorf("%v: it was copied", decision)
		}
		kept := false
		for i := range l.e.arena.chunks[1:] {
			c := &l.e.arena.chunks[i+1]
			kept = kept || &c.memory[0] == &was[0]
			if &c.memory[0] == &in.b[0] {
				t.Errorf("%v: what was exchanged for it is still the engine's", decision)
			}
		}
		if kept != (decision == Continue) {
			t.Errorf("%v: kept %v", decision, kept)
		}
	}
}

type decider Decision

func (d decider) Data(*Conn, Direction, []byte) Decision { return Decision(d) }
func (decider) Close(*Conn, Reason)                      {}
