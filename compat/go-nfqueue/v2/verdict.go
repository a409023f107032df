package nfqueue

import (
	"errors"
	"fmt"

	"github.com/goipq/goipq/ipq"
)

// A VerdictOption is something that goes with a verdict.
type VerdictOption func(*verdictOptions) error

type verdictOptions struct {
	mark    uint32
	hasMark bool
	with    ipq.VerdictOptions
}

// WithMark sets the packet's mark.
func WithMark(mark uint32) VerdictOption {
	return func(o *verdictOptions) error {
		o.mark, o.hasMark = mark, true
		return nil
	}
}

// WithConnMark sets the mark of the packet's connection.
func WithConnMark(mark uint32) VerdictOption {
	return func(o *verdictOptions) error {
		o.with.ConnMark, o.with.ConnMask = mark, ^uint32(0)
		return nil
	}
}

// WithLabel sets the labels of the packet's connection, all 128 of them. Where the kernel
// gives connections no labels, the verdict takes effect without, and the Logger is told.
func WithLabel(label []byte) VerdictOption {
	return func(o *verdictOptions) error {
		if len(label) != len(o.with.ConnLabels) {
			return fmt.Errorf("conntrack CTA_LABELS must be %d bytes, got %d", len(o.with.ConnLabels), len(label))
		}
		o.with.ConnLabels = [16]byte(label)
		for i := range o.with.ConnLabelsMask {
			o.with.ConnLabelsMask[i] = 0xff
		}
		return nil
	}
}

// WithAlteredPacket replaces the packet from its network header on. Its checksums are the
// caller's to make right. It is copied.
func WithAlteredPacket(packet []byte) VerdictOption {
	return func(o *verdictOptions) error {
		o.with.Payload = packet
		return nil
	}
}

// SetVerdict decides the packet with that id. It may be called at any time while a hook is
// registered, from any goroutine.
func (nfqueue *Nfqueue) SetVerdict(id uint32, verdict int) error {
	return nfqueue.decide(id, verdict, &verdictOptions{})
}

// SetVerdictWithOption is SetVerdict with what goes with the verdict.
func (nfqueue *Nfqueue) SetVerdictWithOption(id uint32, verdict int, options ...VerdictOption) error {
	var o verdictOptions
	for _, option := range options {
		if err := option(&o); err != nil {
			return err
		}
	}
	return nfqueue.decide(id, verdict, &o)
}

// SetVerdictBatch decides all packets up to the one with that id.
func (nfqueue *Nfqueue) SetVerdictBatch(id uint32, verdict int) error {
	v, err := kernelVerdict(verdict)
	if err != nil {
		return err
	}
	r, err := nfqueue.running()
	if err != nil {
		return err
	}
	return r.given(r.conn.SetVerdictBatch(id, v))
}

// SetVerdictWithMark sets the packet's mark, too.
//
// Deprecated: use SetVerdictWithOption.
func (nfqueue *Nfqueue) SetVerdictWithMark(id uint32, verdict, mark int) error {
	return nfqueue.SetVerdictWithOption(id, verdict, WithMark(uint32(mark)))
}

// SetVerdictWithConnMark sets the mark of the connection, too.
//
// Deprecated: use SetVerdictWithOption.
func (nfqueue *Nfqueue) SetVerdictWithConnMark(id uint32, verdict, mark int) error {
	return nfqueue.SetVerdictWithOption(id, verdict, WithConnMark(uint32(mark)))
}

// SetVerdictWithLabel sets the labels of the connection, too.
//
// Deprecated: use SetVerdictWithOption.
func (nfqueue *Nfqueue) SetVerdictWithLabel(id uint32, verdict int, label []byte) error {
	return nfqueue.SetVerdictWithOption(id, verdict, WithLabel(label))
}

// SetVerdictModPacket replaces the packet, too.
//
// Deprecated: use SetVerdictWithOption.
func (nfqueue *Nfqueue) SetVerdictModPacket(id uint32, verdict int, packet []byte) error {
	return nfqueue.SetVerdictWithOption(id, verdict, WithAlteredPacket(packet))
}

// SetVerdictModPacketWithMark replaces the packet and sets its mark, too.
//
// Deprecated: use SetVerdictWithOption.
func (nfqueue *Nfqueue) SetVerdictModPacketWithMark(id uint32, verdict, mark int, packet []byte) error {
	return nfqueue.SetVerdictWithOption(id, verdict, WithAlteredPacket(packet), WithMark(uint32(mark)))
}

// SetVerdictModPacketWithConnMark replaces the packet and sets the mark of the connection,
// too.
//
// Deprecated: use SetVerdictWithOption.
func (nfqueue *Nfqueue) SetVerdictModPacketWithConnMark(id uint32, verdict, mark int, packet []byte) error {
	return nfqueue.SetVerdictWithOption(id, verdict, WithAlteredPacket(packet), WithConnMark(uint32(mark)))
}

// SetVerdictModPacketWithLabel replaces the packet and sets the labels of the connection,
// too.
//
// Deprecated: use SetVerdictWithOption.
func (nfqueue *Nfqueue) SetVerdictModPacketWithLabel(id uint32, verdict int, label []byte, packet []byte) error {
	return nfqueue.SetVerdictWithOption(id, verdict, WithAlteredPacket(packet), WithLabel(label))
}

// kernelVerdict returns the verdict that one of the Nf* stands for.
func kernelVerdict(verdict int) (ipq.Verdict, error) {
	switch verdict {
	case NfDrop:
		return ipq.Drop, nil
	case NfAccept:
		return ipq.Accept, nil
	case NfQeueue:
		return ipq.Requeue(0), nil
	case NfRepeat:
		return ipq.Repeat, nil
	case NfStolen:
		return 0, fmt.Errorf("%w: the kernel takes no NfStolen, and the packet waits for another", ErrInvalidVerdict)
	}
	return 0, ErrInvalidVerdict
}

// decide gives the verdict on a packet.
func (nfqueue *Nfqueue) decide(id uint32, verdict int, o *verdictOptions) error {
	v, err := kernelVerdict(verdict)
	if err != nil {
		return err
	}
	r, err := nfqueue.running()
	if err != nil {
		return err
	}
	if o.hasMark {
		v = v.WithMark(o.mark)
	}
	o.with.KeepChecksums = true
	if o.with.Payload != nil {
		o.with.KeepsSequence = r.lengths.kept(id, len(o.with.Payload))
	}
	err = r.conn.SetVerdictWith(id, v, o.with)
	if errors.Is(err, ipq.ErrNoLabels) {
		// The kernel would take the verdict, and set neither labels nor mark.
		nfqueue.log.Errorf("packet %d: %v", id, err)
		o.with.ConnLabelsMask = [16]byte{}
		err = r.conn.SetVerdictWith(id, v, o.with)
	}
	if err != nil && o.with.Payload != nil && unsendable(err) {
		// As the kernel does with a packet that it cannot make of a payload. It would
		// wait for ever otherwise.
		return errors.Join(err, r.given(r.conn.SetVerdict(id, ipq.Drop, nil)))
	}
	return r.given(err)
}

// unsendable reports whether a payload can be sent with no verdict.
func unsendable(err error) bool {
	for _, is := range []error{ipq.ErrTooLarge, ipq.ErrNotIP, ipq.ErrUndeliverable} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}
