package stream

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// What is remembered is what was added, in order and early, of several directions that
// share an arena until its free blocks lie in pieces; and all of it comes back.
func TestRemembered(t *testing.T) {
	const size = 64 // blocks that the directions have at most together, nearly
	a := newArena(size * blockSize)
	rnd := rand.New(rand.NewPCG(1, 2))
	stream := make([]byte, 1<<21)
	for i := range stream {
		stream[i] = byte(rnd.Uint32())
	}
	var dirs [3]struct {
		remembered
		base, next uint32 // nothing before base is remembered; nothing from next on is inspected
	}
	var refused int
	for range 20000 {
		d := &dirs[rnd.IntN(len(dirs))]
		if int(d.next)+1<<18 > len(stream) { // over again
			d.clear(a)
			d.base, d.next = 0, 0
		}
		n := uint32(1 + rnd.IntN(8*blockSize))
		switch rnd.IntN(4) {
		case 0: // early, and of itself in several pieces
			from := d.next + 1 + rnd.Uint32N(16*blockSize)
			if !d.add(a, from, stream[from:from+n], true, size/4) {
				refused++
			}
		case 1:
			d.base = d.forget(a, d.base+rnd.Uint32N(d.next-d.base+1), d.base)
		default:
			if !d.add(a, d.next, stream[d.next:d.next+n], false, 0) {
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
		used, early := 0, 0
		for i := range dirs {
			d, end, was := &dirs[i], uint32(0), early
			for j := d.head; j != 0; j = a.blocks[j].next {
				k := &a.blocks[j]
				if k.n == 0 || before(k.seq, end) || !bytes.Equal(a.data(j), stream[k.seq:k.end()]) {
					t.Fatalf("block %d, %+v, is not what was added", j, *k)
				}
				if used, end = used+1, k.end(); k.early {
					early++
				}
				if a.blocks[j].next == 0 && j != d.tail {
					t.Fatalf("the last block is %d, not %d", j, d.tail)
				}
			}
			if early-was != int(d.early) {
				t.Fatalf("%d blocks are early, not %d", early-was, d.early)
			}
		}
		if used != a.used || early != a.early {
			t.Fatalf("%d blocks are in use, %d of them early, not %d and %d", used, early, a.used, a.early)
		}
	}
	for i := range dirs {
		dirs[i].clear(a)
	}
	if a.used != 0 || a.early != 0 || refused == 0 {
		t.Errorf("%d blocks are left, %d of them early; %d were refused", a.used, a.early, refused)
	}
}
