package stream

import "bytes"

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
// inspected bytes. They are copied, or kept in the buffer that they came in, in the block
// that it returns: see [arena.keep]. It reports false if there was no room for all of it:
// of bytes that are early, also if their blocks would be more than most.
func (r *remembered) add(a *arena, seq uint32, b []byte, from buffer, early bool, most int) (kept uint32, ok bool) {
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
		n := 0
		if i := r.keep(a, from, seq, b[:gap], early, most); i != 0 {
			r.link(a, prev, i, i, cur)
			kept, prev, n, from = i, i, gap, nil
		} else if prev != 0 && a.blocks[prev].end() == seq && a.blocks[prev].early == early {
			n = a.put(prev, b[:gap])
		}
		if n == 0 {
			want := (gap + blockSize - 1) / blockSize
			if early {
				want = min(want, most-int(r.early))
			}
			first, last, blocks := a.take(early, want)
			if blocks == 0 {
				return kept, false
			}
			r.link(a, prev, first, last, cur)
			for i := first; ; i = a.blocks[i].next {
				a.blocks[i] = block{seq: seq + uint32(n), next: a.blocks[i].next, early: early}
				n += a.put(i, b[n:gap])
				if i == last {
					break
				}
			}
			if early {
				r.early += uint32(blocks)
			}
			prev = last
		}
		seq, b = seq+uint32(n), b[n:]
	}
	return kept, true
}

// keep has b kept in the buffer that it came in; see [arena.keep].
func (r *remembered) keep(a *arena, from buffer, seq uint32, b []byte, early bool, most int) uint32 {
	if early && int(r.early)+perChunk > most {
		return 0
	}
	i := a.keep(from, seq, b, early)
	if i != 0 && early {
		r.early += perChunk
	}
	return i
}

// link puts the blocks from first to last between prev, or the beginning, and next.
func (r *remembered) link(a *arena, prev, first, last, next uint32) {
	a.blocks[last].next = next
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
		r.early -= uint32(a.size(i))
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
