package stream

import (
	"sync"
	"sync/atomic"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ring"
)

// blockSize is what bytes are copied into: a full-sized frame of Ethernet fits.
const blockSize = 2048

// perChunk is how many blocks a chunk has.
const perChunk = ipq.BufferSize / blockSize

// A block holds n bytes of a direction, from the sequence number seq on.
type block struct {
	seq   uint32
	next  uint32 // of its chain, by number; 0: none
	n     uint16
	early bool // it came before what is in front of it
}

func (b *block) end() uint32 { return b.seq + uint32(b.n) }

// A chunk is memory for blocks, or it is one block, the first of its numbers, which
// holds the bytes of a packet in the buffer that they came in.
type chunk struct {
	memory []byte
	kept   []byte // of the memory; nil: there is no such block
	inHand bool   // the packet that has come in the memory is not decided yet
	free   uint32 // the first of the blocks that were given back, by number; 0: none
	fresh  uint32 // how many have been taken since the chunk was empty
	used   uint32 // how many are taken

	// Its neighbours among those with free blocks, by number; 0: none. Of empty ones,
	// next alone.
	prev, next uint32
}

// An arena is the memory of an Engine. Its blocks and chunks have numbers from 1 on.
type arena struct {
	blocks []block
	chunks []chunk

	mu     sync.Mutex
	empty  uint32 // the first of the empty chunks
	open   uint32 // the first of those that have free blocks, and others
	left   int    // how many are empty
	copied int    // how many blocks are taken that bytes are copied into
	kept   int    // how many chunks are a block
	early  int    // how many blocks have early bytes; a chunk counts as all of its

	scarce atomic.Bool // less than a quarter of the chunks is empty
}

func newArena(bytes int) *arena {
	n := bytes / ipq.BufferSize
	a := &arena{blocks: make([]block, n*perChunk+1), chunks: make([]chunk, n+1), left: n}
	for i, b := range ring.NewBuffers(n, ipq.BufferSize) {
		a.chunks[i+1] = chunk{memory: b, next: uint32(i+2) % uint32(n+1)}
	}
	a.empty = 1
	return a
}

// used is how many bytes are taken.
func (a *arena) used() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.copied*blockSize + a.kept*ipq.BufferSize
}

// take returns the first and the last of a chain of empty blocks, at most want. It
// returns 0, 0, 0 if there is none left.
func (a *arena) take(early bool, want int) (first, last uint32, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if early {
		want = min(want, a.leftForEarly())
	}
	for n < want && (a.open != 0 || a.openEmpty()) {
		i := a.takeOne()
		if n++; n == 1 {
			first = i
		} else {
			a.blocks[last].next = i
		}
		last = i
	}
	a.copied += n
	if early {
		a.early += n
	}
	return first, last, n
}

// leftForEarly is how many blocks of early bytes there may be yet.
func (a *arena) leftForEarly() int { return (len(a.blocks)-1)/2 - a.early }

// openEmpty makes an empty chunk one with free blocks.
func (a *arena) openEmpty() bool {
	i := a.empty
	if i == 0 {
		return false
	}
	a.empty = a.chunks[i].next
	a.nowLeft(a.left - 1)
	a.enlist(i)
	return true
}

// takeOne takes a block of the first chunk that has one.
func (a *arena) takeOne() uint32 {
	at := a.open
	c := &a.chunks[at]
	i := c.free
	if i != 0 {
		c.free = a.blocks[i].next
	} else {
		i = (at-1)*perChunk + 1 + c.fresh
		c.fresh++
	}
	if c.used++; c.used == perChunk {
		a.delist(at)
	}
	return i
}

// enlist puts a chunk in front of those with free blocks.
func (a *arena) enlist(i uint32) {
	c := &a.chunks[i]
	c.prev, c.next = 0, a.open
	if a.open != 0 {
		a.chunks[a.open].prev = i
	}
	a.open = i
}

func (a *arena) delist(i uint32) {
	c := &a.chunks[i]
	if c.prev != 0 {
		a.chunks[c.prev].next = c.next
	} else {
		a.open = c.next
	}
	if c.next != 0 {
		a.chunks[c.next].prev = c.prev
	}
}

// give takes back the chain of blocks from first to last.
func (a *arena) give(first, last uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := first; ; {
		next := a.blocks[i].next
		if a.blocks[i].early {
			a.early -= a.size(i)
		}
		a.giveOne(i)
		if i == last {
			return
		}
		i = next
	}
}

func (a *arena) giveOne(i uint32) {
	at := chunkOf(i)
	c := &a.chunks[at]
	if c.kept != nil {
		if c.kept = nil; c.inHand {
			// It is left to the packet, which is rejected, or settles its flow.
			c.memory, c.inHand = ring.NewBuffers(1, ipq.BufferSize)[0], false
		}
		a.kept--
	} else {
		if c.used == perChunk {
			a.enlist(at)
		}
		a.copied--
		a.blocks[i].next = c.free
		c.free = i
		if c.used--; c.used > 0 {
			return
		}
		a.delist(at)
		c.free, c.fresh = 0, 0
	}
	c.next = a.empty
	a.empty = at
	a.nowLeft(a.left + 1)
}

func (a *arena) nowLeft(n int) {
	a.left = n
	if scarce := n < len(a.chunks)/4; scarce != a.scarce.Load() {
		a.scarce.Store(scarce)
	}
}

// A buffer is what bytes have come in: it is exchanged for another one, to keep them.
type buffer interface {
	Exchange(buf []byte) (old []byte, ok bool)
}

// keep makes a block of b, early or not, which lies in from, without a copy: until
// decided is called, its memory is not given to another queue. It returns 0 if b is
// better copied, since it would take a whole chunk: where it is small, and where it does
// not fill half of one and half of the memory is taken; or if there is no empty chunk.
func (a *arena) keep(from buffer, seq uint32, b []byte, early bool) uint32 {
	const small = 8 << 10
	if from == nil || len(b) < small {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.empty
	switch {
	case i == 0, len(b) < ipq.BufferSize/2 && a.left < len(a.chunks)/2, early && a.leftForEarly() < perChunk:
		return 0
	}
	c := &a.chunks[i]
	old, ok := from.Exchange(c.memory)
	if !ok {
		return 0
	}
	a.empty = c.next
	a.nowLeft(a.left - 1)
	a.kept++
	c.memory, c.kept, c.inHand = old, b, true
	first := (i-1)*perChunk + 1
	a.blocks[first] = block{seq: seq, n: uint16(len(b)), early: early}
	if early {
		a.early += perChunk
	}
	return first
}

// decided notes that the packet of block i, if there is one, goes on.
func (a *arena) decided(i uint32) {
	if i != 0 {
		a.chunks[chunkOf(i)].inHand = false
	}
}

// arrived notes that what is in front of an early block has come.
func (a *arena) arrived(i uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.blocks[i].early = false
	a.early -= a.size(i)
}

// chunkOf returns the number of the chunk that has block i.
func chunkOf(i uint32) uint32 { return (i-1)/perChunk + 1 }

// size is how many blocks block i takes the place of.
func (a *arena) size(i uint32) int {
	if a.chunks[chunkOf(i)].kept != nil {
		return perChunk
	}
	return 1
}

// data returns the bytes of a block.
func (a *arena) data(i uint32) []byte {
	c := &a.chunks[chunkOf(i)]
	if c.kept != nil {
		return c.kept
	}
	at := (i - 1) % perChunk * blockSize
	return c.memory[at:][:a.blocks[i].n]
}

// put copies what there is room for of b behind the bytes of a block, and returns how
// much that was.
func (a *arena) put(i uint32, b []byte) int {
	c, k := &a.chunks[chunkOf(i)], &a.blocks[i]
	if c.kept != nil {
		return 0
	}
	at := (i - 1) % perChunk * blockSize
	n := copy(c.memory[at:][k.n:blockSize], b)
	k.n += uint16(n)
	return n
}
