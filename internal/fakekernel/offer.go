package fakekernel

import (
	"errors"
	"os"
	"syscall"

	"github.com/goipq/goipq/internal/zerocopy"
)

// A Fate is what became of a packet that was offered to a queue.
type Fate uint8

// The fates of __nfqnl_enqueue_packet.
const (
	Queued       Fate = iota // it waits for a verdict
	QueueFull                // dropped: NFQA_CFG_QUEUE_MAXLEN packets wait
	SocketFull               // dropped: the message did not fit the socket; an id is lost
	FailedOpen               // accepted instead of either, with NFQA_CFG_F_FAIL_OPEN
	NoListener               // dropped: the queue is not bound, or has no copy mode
	NotAPacket               // Queued, but with damage that leaves no id to decide it by
	SocketClosed             // there is nobody to deliver to
)

// Queue queues a packet, whatever the queue's length and whether it is bound,
// and returns its id. It waits while the socket is full.
func (k *Kernel) Queue(p Packet) (id uint32, err error) {
	id, _, err = k.deliver(&p, 0, false, true)
	return id, os.NewSyscallError("write", err)
}

// Offer has a packet meet the queue as the kernel's do: it is cut to the copy
// range, and dropped or accepted when there is no room. The tag, which the
// ledger keeps, is for the judge. An id comes with Queued only.
func (k *Kernel) Offer(p *Packet, tag uint32) (id uint32, fate Fate) {
	return k.offer(p, tag, false)
}

// OfferWait is Offer that waits while the socket is full.
func (k *Kernel) OfferWait(p *Packet, tag uint32) (id uint32, fate Fate) {
	return k.offer(p, tag, true)
}

func (k *Kernel) offer(p *Packet, tag uint32, wait bool) (id uint32, fate Fate) {
	id, fate, err := k.deliver(p, tag, true, wait)
	if err != nil {
		return 0, SocketClosed
	}
	return id, fate
}

func (k *Kernel) deliver(p *Packet, tag uint32, strict, wait bool) (id uint32, fate Fate, err error) {
	k.mu.Lock()
	id, fate, err = k.enqueue(p, tag, strict, wait)
	k.mu.Unlock()
	if err != syscall.EAGAIN {
		return id, fate, err
	}
	if werr := k.wire.await(func() bool {
		id, fate, err = k.enqueue(p, tag, strict, wait)
		return err != syscall.EAGAIN
	}); werr != nil {
		err = werr
	}
	if strict && errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, NoListener, nil // the queue was unbound meanwhile
	}
	return id, fate, err
}

// enqueue does what nfqnl_enqueue_packet does. With wait it does nothing, and
// returns EAGAIN, when the socket has no room.
func (k *Kernel) enqueue(p *Packet, tag uint32, strict, wait bool) (id uint32, fate Fate, err error) {
	q := &k.queue
	if strict {
		if !q.bound || q.copyMode == zerocopy.CopyNone {
			k.count.NoListener++
			return 0, NoListener, nil
		}
		if uint32(k.ledger.waits()) >= q.maxLen {
			return 0, k.noRoom(&k.count.QueueDropped, QueueFull), nil
		}
		k.noise()
		p = k.cut(p)
	}
	id = k.lastID + 1
	k.out = p.AppendMessage(k.out[:0], k.number, id)
	switch err := k.wire.write(k.out); {
	case err == syscall.EAGAIN && !wait:
		k.lastID = id // lost
		return 0, k.noRoom(&k.count.UserDropped, SocketFull), nil
	case err != nil:
		return 0, 0, err
	}
	k.lastID = id
	k.count.Queued++
	if p.Damage == NoHeader {
		return 0, NotAPacket, nil
	}
	k.count.Delivered++
	k.ledger.add(id, tag)
	return id, Queued, nil
}

func (k *Kernel) noRoom(dropped *uint64, fate Fate) Fate {
	if k.queue.flags&zerocopy.FlagFailOpen != 0 {
		k.count.FailedOpen++
		return FailedOpen
	}
	*dropped++
	return fate
}

// cut returns p as the copy mode lets it be copied.
func (k *Kernel) cut(p *Packet) *Packet {
	q := &k.queue
	if q.copyMode == zerocopy.CopyPacket && uint32(len(p.Payload)) <= q.copyRange {
		return p
	}
	c := *p
	if q.copyMode == zerocopy.CopyMeta {
		c.Payload = nil
		if c.Protocol == 0 && len(p.Payload) > 0 {
			c.Protocol = etherType(p.Payload)
		}
		return &c
	}
	if c.CapLen == 0 {
		c.CapLen = uint32(len(p.Payload))
	}
	c.Payload = p.Payload[:q.copyRange]
	return &c
}

// Send sends any bytes as one datagram. It waits while the socket is full.
func (k *Kernel) Send(b []byte) (err error) {
	werr := k.wire.await(func() bool {
		err = k.wire.write(b)
		return err != syscall.EAGAIN
	})
	return os.NewSyscallError("write", errors.Join(werr, err))
}

// send is Send for what the kernel sends of its own accord, which it never
// waits for.
func (k *Kernel) send(b []byte) error { return os.NewSyscallError("write", k.wire.write(b)) }
