package stream

import (
	"bytes"
	"sync"
)

// blockSize is what bytes are remembered in: a full-sized frame of Ethernet fits.
const blockSize = 2048

// A block holds n bytes of a direction, from the sequence number seq on.
type block struct {
	seq   uint32
	next  uint32 // of its chain, by number; 0: none
	n     uint16
	early bool // it came before what is in front of it
}

func (b *block) end() uint32 { return b.seq + uint32(b.n) }

// An arena is the memory of an Engine, in blocks with numbers from 1 on.
type arena struct {
	blocks []block
	bytes  []byte

	mu    sync.Mutex
	free  uint32 // the first of those that were given back, by number; 0: none
	fresh uint32 // the number of the last that was ever taken
	used  int
	early int // of them
}

func newArena(bytes int) *arena {
	n := bytes / blockSize
	return &arena{blocks: make([]block, n+1), bytes: make([]byte, n*blockSize)}
}

// take returns the number of the first of n empty blocks that lie side by side, at most
// want. It returns 0, 0 if there is none left.
func (a *arena) take(early bool, want int) (first uint32, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if early {
		want = min(want, (len(a.blocks)-1)/2-a.early)
	}
	switch fresh := len(a.blocks) - 1 - int(a.fresh); {
	case want <= 0:
		return 0, 0
	case a.free != 0:
		first, n = a.free, 1
		for a.free = a.blocks[first].next; n < want && a.free == first+uint32(n); n++ {
			a.free = a.blocks[a.free].next
		}
	case fresh > 0:
		first, n = a.fresh+1, min(want, fresh)
		a.fresh += uint32(n)
	}
	a.used += n
	if early {
		a.early += n
	}
	return first, n
}

// fill puts b, from seq on, into n blocks side by side, as far as there is room, and
// returns how much there was. next is what follows them.
func (a *arena) fill(first uint32, n int, seq uint32, b []byte, early bool, next uint32) int {
	at := offset(first)
	copied := copy(a.bytes[at:at+n*blockSize], b)
	for i, left := first, copied; left > 0; i++ {
		k := min(left, blockSize)
		a.blocks[i] = block{seq: seq, next: i + 1, n: uint16(k), early: early}
		seq, left = seq+uint32(k), left-k
	}
	a.blocks[first+uint32(n)-1].next = next
	return copied
}

// give takes back the chain of blocks from first to last.
func (a *arena) give(first, last uint32) {
	n, early := 1, 0
	for i := first; ; i = a.blocks[i].next {
		if a.blocks[i].early {
			early++
		}
		if i == last {
			break
		}
		n++
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.blocks[last].next = a.free
	a.free = first
	a.used -= n
	a.early -= early
}

// arrived notes that what is in front of an early block has come.
func (a *arena) arrived(i uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.blocks[i].early = false
	a.early--
}

func (a *arena) data(i uint32) []byte { return a.room(i)[:a.blocks[i].n] }

// room returns all of a block.
func (a *arena) room(i uint32) []byte {
	at := offset(i)
	return a.bytes[at : at+blockSize : at+blockSize]
}

// offset is where a block begins.
func offset(i uint32) int { return (int(i) - 1) * blockSize }

// remembered are the bytes of a direction that its receiver may still take: a chain of
// blocks in the order of their sequence numbers, first those that were inspected,
// without a gap, then those that came early.
type remembered struct {
	head, last, tail uint32 // the first, the last that was inspected, the last; 0: none
	early            uint32 // how many came early
}

// conflicts reports whether b, from seq on, has other bytes than those remembered.
func (r *remembered) conflicts(a *arena, seq uint32, b []byte) bool {
	if r.tail == 0 || !before(seq, a.blocks[r.tail].end()) {
		return false
	}
	end := seq + uint32(len(b))
	for i := r.head; i != 0; i = a.blocks[i].next {
		k := &a.blocks[i]
		if !before(k.seq, end) {
			return false
		}
		from, to := later(seq, k.seq), earlier(end, k.end())
		if before(from, to) && !bytes.Equal(b[from-seq:to-seq], a.data(i)[from-k.seq:to-k.seq]) {
			return true
		}
	}
	return false
}

// add remembers what is not yet remembered of b, from seq on, where there are no
// inspected bytes. It reports false if there was no room for all of it: of bytes that
// are early, also if their blocks would be more than most.
func (r *remembered) add(a *arena, seq uint32, b []byte, early bool, most int) bool {
	prev := r.last
	if r.tail != 0 && !before(seq, a.blocks[r.tail].end()) {
		prev = r.tail
	}
	cur := r.after(a, prev)
	for len(b) > 0 {
		for cur != 0 && !before(seq, a.blocks[cur].end()) {
			prev, cur = cur, a.blocks[cur].next
		}
		gap := len(b)
		if cur != 0 {
			k := &a.blocks[cur]
			if !before(seq, k.seq) { // it has the bytes
				n := min(len(b), int(k.end()-seq))
				seq, b = seq+uint32(n), b[n:]
				continue
			}
			gap = min(gap, int(k.seq-seq))
		}
		if prev == 0 || a.blocks[prev].end() != seq || a.blocks[prev].n == blockSize || a.blocks[prev].early != early {
			want := (gap + blockSize - 1) / blockSize
			if early {
				want = min(want, most-int(r.early))
			}
			first, blocks := a.take(early, want)
			if blocks == 0 {
				return false
			}
			n := a.fill(first, blocks, seq, b[:gap], early, cur)
			last := first + uint32(blocks) - 1
			r.link(a, prev, first, last)
			if early {
				r.early += uint32(blocks)
			}
			prev, seq, b = last, seq+uint32(n), b[n:]
			continue
		}
		k := &a.blocks[prev]
		n := copy(a.room(prev)[k.n:], b[:gap])
		k.n += uint16(n)
		seq, b = seq+uint32(n), b[n:]
	}
	return true
}

// link puts the blocks from first to last behind prev, or in front.
func (r *remembered) link(a *arena, prev, first, last uint32) {
	if prev == 0 {
		r.head = first
	} else {
		a.blocks[prev].next = first
	}
	if r.tail == prev {
		r.tail = last
	}
}

// after returns the block behind prev, or the first.
func (r *remembered) after(a *arena, prev uint32) uint32 {
	if prev == 0 {
		return r.head
	}
	return a.blocks[prev].next
}

// reached moves last on to the block that ends at next or before.
func (r *remembered) reached(a *arena, next uint32) {
	for i := r.after(a, r.last); i != 0 && !before(next, a.blocks[i].end()); i = a.blocks[i].next {
		r.pass(a, i)
	}
}

// step moves last on by a block, if that joins what was inspected up to next, and
// returns its bytes from there on.
func (r *remembered) step(a *arena, next uint32) (b []byte, ok bool) {
	i := r.after(a, r.last)
	if i == 0 || before(next, a.blocks[i].seq) {
		return nil, false
	}
	r.pass(a, i)
	return a.data(i)[next-a.blocks[i].seq:], true
}

func (r *remembered) pass(a *arena, i uint32) {
	r.last = i
	if a.blocks[i].early {
		a.arrived(i)
		r.early--
	}
}

// forget gives back the blocks that were inspected and end at acked or before, and
// returns where the bytes now begin, or base.
func (r *remembered) forget(a *arena, acked, base uint32) uint32 {
	first, last := r.head, uint32(0)
	for i := r.head; i != 0 && r.last != 0 && !before(acked, a.blocks[i].end()); i = r.head {
		last, base = i, a.blocks[i].end()
		r.head = a.blocks[i].next
		if i == r.last {
			r.last = 0
		}
		if i == r.tail {
			r.tail = 0
		}
	}
	if last != 0 {
		a.give(first, last)
	}
	return base
}

// clear gives back all.
func (r *remembered) clear(a *arena) {
	if r.head != 0 {
		a.give(r.head, r.tail)
	}
	*r = remembered{}
}

// Sequence numbers wrap around: of two that are less than 2^31 apart, one is before
// the other.

func before(a, b uint32) bool { return int32(a-b) < 0 }

func later(a, b uint32) uint32 {
	if before(a, b) {
		return b
	}
	return a
}

func earlier(a, b uint32) uint32 {
	if before(b, a) {
		return b
	}
	return a
}
