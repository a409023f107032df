package ring

import "sync/atomic"

// slotColour is added to each slot's stride. Slots that are a multiple of the
// page size apart would put the headers of all packets of a batch into the
// same few sets of a cache indexed by address bits 6 to 11; five lines more
// (5 * 64) spread them, five being prime to the number of sets.
const slotColour = 5 * 64

const (
	pageSize = 4096
	inRing   = 0
	taken    = 1
)

// A Batch holds the packets of one recvmmsg(2). It belongs to one goroutine at
// a time: the one that got it, or those it was handed to.
type Batch struct {
	index    int
	slots    int
	slotSize int
	stride   int
	recvSize int
	state    atomic.Uint32

	slab     []byte // slots, stride bytes apart
	verdicts []byte
	n        int // datagrams of the last Recv

	sys batchSys
}

func newBatch(cfg *Config, index int) *Batch {
	stride := (cfg.SlotSize+pageSize-1)/pageSize*pageSize + slotColour
	if cfg.SlotSize < pageSize {
		// Small slots (metadata, short copy ranges) stay dense.
		stride = (cfg.SlotSize + 63) / 64 * 64
	}
	b := &Batch{
		index:    index,
		slots:    cfg.Slots,
		slotSize: cfg.SlotSize,
		stride:   stride,
		recvSize: cfg.RecvSize,
		slab:     newSlab(stride * cfg.Slots),
		verdicts: make([]byte, cfg.Slots*cfg.VerdictSize),
	}
	b.sys.link(b)
	return b
}

// Index returns the batch's place in [Ring.Batches].
func (b *Batch) Index() int { return b.index }

// Slots returns how many packets the batch can hold.
func (b *Batch) Slots() int { return b.slots }

// Len returns how many datagrams the last Recv brought.
func (b *Batch) Len() int { return b.n }

// Msg returns the bytes that the last Recv wrote into slot i, for i < Len.
// They are valid until the batch is received into or put back.
func (b *Batch) Msg(i int) []byte {
	off := i * b.stride
	return b.slab[off : off+b.received(i) : off+b.slotSize]
}

// Slot returns all bytes of slot i: those of Msg(i) and the room behind them.
func (b *Batch) Slot(i int) []byte {
	off := i * b.stride
	return b.slab[off : off+b.slotSize : off+b.slotSize]
}

// Verdicts returns the batch's verdict buffer, Slots times
// [Config.VerdictSize] bytes. The ring never reads it.
func (b *Batch) Verdicts() []byte { return b.verdicts }

// Append adds a datagram to those that the last Recv brought, as if it had brought it,
// cut to [Config.RecvSize]. It reports false, and adds nothing, when the batch is full.
// The datagram is copied. It is for datagrams that come from elsewhere than a socket.
func (b *Batch) Append(datagram []byte) bool {
	if b.n == b.slots {
		return false
	}
	n := copy(b.slab[b.n*b.stride:][:b.recvSize], datagram)
	b.setReceived(b.n, n, n < len(datagram))
	b.n++
	return true
}

func (b *Batch) take() {
	if !b.state.CompareAndSwap(inRing, taken) {
		panic("ring: batch on the free stack is in use")
	}
}

// Recycle ends the life of the datagrams in the batch, which stays with its
// owner: for one that receives into the same batch again without [Ring.Put],
// which does the same.
func (b *Batch) Recycle() {
	b.poison()
	b.n = 0
}

func (b *Batch) giveBack() {
	if b.state.Load() == taken {
		b.Recycle()
	}
	if !b.state.CompareAndSwap(taken, inRing) {
		panic("ring: batch put back twice")
	}
}
