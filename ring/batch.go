package ring

import "sync/atomic"

const (
	inRing = 0
	taken  = 1
)

// A Batch holds the packets of one recvmmsg(2). It belongs to one goroutine at
// a time: the one that got it, or those it was handed to.
type Batch struct {
	index    int
	slots    int
	recvSize int
	state    atomic.Uint32

	buffers  [][]byte // one a slot
	verdicts []byte
	n        int // datagrams of the last Recv

	sys batchSys
}

func newBatch(cfg *Config, index int) *Batch {
	b := &Batch{
		index:    index,
		slots:    cfg.Slots,
		recvSize: cfg.RecvSize,
		buffers:  NewBuffers(cfg.Slots, cfg.SlotSize),
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
	return b.buffers[i][:b.received(i)]
}

// Slot returns all bytes of slot i: those of Msg(i) and the room behind them.
func (b *Batch) Slot(i int) []byte { return b.buffers[i] }

// Exchange puts buf, which is as long as a slot, in the place of the buffer of slot i,
// which is then the caller's: so a datagram is kept without a copy. It reports false,
// and does nothing, if buf has another length.
func (b *Batch) Exchange(i int, buf []byte) (old []byte, ok bool) {
	old = b.buffers[i]
	if len(buf) != len(old) {
		return nil, false
	}
	b.buffers[i] = buf[:len(buf):len(buf)]
	b.sys.point(i, buf)
	return old, true
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
	n := copy(b.buffers[b.n][:b.recvSize], datagram)
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
