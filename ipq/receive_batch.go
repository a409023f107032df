package ipq

import (
	"sync/atomic"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// A batch is a ring.Batch with the packets decoded from it.
type batch struct {
	*ring.Batch
	packets []Packet // packets[i] is message i, if that is a packet

	shares  []share      // with a pool: what the packets are split into
	pending atomic.Int32 // shares that keep the batch
}

func newBatch(rb *ring.Batch, sock *socket) *batch {
	b := &batch{Batch: rb, packets: make([]Packet, rb.Slots())}
	for i := range b.packets {
		b.packets[i].sock = sock
	}
	return b
}

// kind is what a message turned out to be.
type kind int

const (
	isPacket kind = iota
	isBroken      // a packet that cannot be decoded; its id may be known
	isOther
)

// decode decodes message i into packets[i].
func (b *batch) decode(i int) (*Packet, kind) {
	p := &b.packets[i]
	p.slot, p.size, p.broken, p.deferred = b.Slot(i), len(b.Msg(i)), false, false
	p.hasFlow, p.hasHash = false, false
	p.edit.clear()
	switch err := p.msg.Decode(b.Msg(i)); err {
	case nil:
		return p, isPacket
	case zerocopy.ErrType:
		return p, isOther
	}
	p.broken = true
	return p, isBroken
}

// recycle ends the life of the packets. The batch can be received into again.
func (b *batch) recycle() {
	b.poison()
	b.Recycle()
}
