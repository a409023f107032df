package ipq

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// SetVerdict is [Conn.SetVerdictWith] for a verdict with nothing but a payload, which
// nil leaves as it is.
func (c *Conn) SetVerdict(id uint32, v Verdict, payload []byte) error {
	return c.SetVerdictWith(id, v, VerdictOptions{Payload: payload})
}

// VerdictOptions are what goes with a verdict that is given by its packet's id. Those
// who have the packet set them with its methods, and call [Conn.Decide]. The zero value
// changes nothing.
type VerdictOptions struct {
	// Payload, unless nil, replaces the packet, as [Packet.SetPayload] does. Lengths and
	// checksums are made right in the same way, but nothing is known of the packet that
	// it replaces. It is copied.
	Payload []byte
	// ConnMark and ConnMask change the connection's mark, as [Packet.SetConnMark] does: a
	// mask of 0 leaves it alone.
	ConnMark, ConnMask uint32
	// ConnLabels and ConnLabelsMask change the connection's labels, as
	// [Packet.SetConnLabels] does: a mask of zeroes leaves them alone.
	ConnLabels, ConnLabelsMask [16]byte
	// Priority is set if HasPriority is, as by [Packet.SetPriority].
	Priority    uint32
	HasPriority bool
	// VLANProto and VLANTCI are set if HasVLAN is, as by [Packet.SetVLAN].
	VLANProto, VLANTCI uint16
	HasVLAN            bool
	// KeepChecksums leaves lengths and checksums in Payload as they are, as
	// [Config.KeepChecksums] does for all.
	KeepChecksums bool
	// KeepsSequence says that Payload upsets no sequence numbers: it is as long as the
	// packet that it replaces, or the connection is not translated (NAT). One of TCP may
	// then go together with a change of the connection.
	KeepsSequence bool
}

// SetVerdictWith decides the packet with that id. The mark of v is set, too. Verdicts that
// goroutines give at the same time leave in one write; it returns when its own has left,
// or at once with [Config.GatherFor].
//
// It returns, and sends nothing then,
//   - [ErrTooLarge] or [ErrNotIP] for a payload that is no IP packet, or does not fit
//     into a write;
//   - [ErrUndeliverable] for a payload that ends within its headers, and for one of TCP
//     together with a change of the connection, without KeepsSequence: on a translated
//     connection (NAT) the kernel would warn, see [Packet.SetConnMark];
//   - [ErrNoLabels], as SetConnLabels does;
//   - an [*OpError] for a verdict that the kernel does not know, or that could not be
//     sent.
//
// That the kernel refuses the verdict is known later: it is the [*VerdictError] of a
// read. It may be called from any goroutine.
func (c *Conn) SetVerdictWith(id uint32, v Verdict, o VerdictOptions) error {
	if v&verdictReject != 0 {
		return c.sock.fail("verdict", fmt.Errorf("%w: %v: by its id alone nobody can be told of a packet: use Decide", syscall.EINVAL, v))
	}
	p := Packet{sock: c.sock} // of which nothing is known
	e := &p.edit
	if o.Payload != nil {
		if len(o.Payload) > min(zerocopy.MaxCopyRange, c.sock.maxPayload()) {
			return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(o.Payload))
		}
		if zerocopy.HeadOf(o.Payload).Version == 0 {
			return ErrNotIP
		}
		if !zerocopy.Whole(o.Payload) {
			return fmt.Errorf("%w: it ends within its headers", ErrUndeliverable)
		}
		e.payload, e.replaced, e.resized = o.Payload, true, !o.KeepsSequence
	}
	if o.HasPriority {
		p.SetPriority(o.Priority)
	}
	if o.HasVLAN {
		p.SetVLAN(o.VLANProto, o.VLANTCI)
	}
	if err := p.SetConnMark(o.ConnMark, o.ConnMask); err != nil {
		return err
	}
	if err := p.SetConnLabels(o.ConnLabels, o.ConnLabelsMask); err != nil {
		return err
	}
	return c.decide(id, v, p.edit, o.KeepChecksums)
}

// Decide decides p with all that was edited of it, and tells of [Reject] and
// [RejectBoth], which only it does. It is to be called before the next read. Errors are
// those of SetVerdictWith.
func (c *Conn) Decide(p *Packet, v Verdict) error {
	if p.misedited() && v&verdictCode != Drop {
		return c.sock.fail("verdict", fmt.Errorf("%w: EditPayload has changed what must stay", ErrUndeliverable))
	}
	if v&verdictReject != 0 {
		c.sock.rejects.answer(p, v, &c.verdicts.count)
	}
	return c.decide(p.ID(), v, p.edit, false)
}

func (c *Conn) decide(id uint32, v Verdict, e edits, keepChecksums bool) error {
	if !v.valid() {
		return c.sock.fail("verdict", fmt.Errorf("%w: %v", syscall.EINVAL, v))
	}
	return c.verdicts.give(zerocopy.MaxVerdictLen+len(e.payload)+3, func(buf []byte) []byte {
		b := &c.verdicts
		if e.payload != nil {
			b.payload = append(append(b.payload[:0], e.payload...), 0, 0, 0) // room for padding
			e.payload = b.payload[:len(e.payload)]
		}
		a, body := e.verdictAttrs(v, keepChecksums || c.cfg.KeepChecksums)
		n := len(buf)
		buf = slices.Grow(buf, zerocopy.MaxVerdictLen+len(body))
		n += zerocopy.PutVerdictAttrs(buf[n:n+zerocopy.MaxVerdictLen], c.sock.Queue(), id, v.kernel(), &a)
		return append(buf[:n], body...)
	})
}

// SetVerdictBatch decides, all alike, the packets that wait in the queue up to
// and including the one with that id: also those that were not read yet and,
// where another process has the socket, too, those that it has read. Neither a
// mark nor anything else goes with v.
func (c *Conn) SetVerdictBatch(id uint32, v Verdict) error {
	if _, marked := v.Mark(); marked || !v.valid() || v&verdictReject != 0 {
		return c.sock.fail("verdict", fmt.Errorf("%w: %v for a batch", syscall.EINVAL, v))
	}
	return c.verdicts.give(zerocopy.VerdictLen, func(buf []byte) []byte {
		n := len(buf)
		buf = slices.Grow(buf, zerocopy.VerdictLen)[:n+zerocopy.VerdictLen]
		putUpTo(buf[n:], c.sock.Queue(), id, v)
		return buf
	})
}

// A bundle is the verdicts of a Conn that leave in one write: those that were given while
// the one before it was under way. So nobody waits for others to come, and those who give
// verdicts at the same time share the calls.
type bundle struct {
	buf     []byte // messages, one behind the other, with their payloads
	count   int    // of them
	users   int    // who have verdicts in it, and have not returned
	written bool
	err     error
}

// bundles are the write side of a Conn.
type bundles struct {
	sock  *socket
	count counters // which nobody asks for

	mu      sync.Mutex
	change  sync.Cond // signalled when a bundle is written
	filling *bundle   // takes verdicts
	free    []*bundle
	writing bool
	list    *ring.Gather // of who is writing
	payload []byte       // a copy, with room for padding

	// With Config.GatherFor:
	wait   time.Duration
	most   int         // verdicts that leave at once
	timer  *time.Timer // runs while filling holds any
	failed error       // of a write that nobody has waited for
}

func (b *bundles) init(sock *socket) {
	b.sock, b.change.L, b.filling = sock, &b.mu, &bundle{}
	// A batch verdict can decide all that the kernel holds, so the calls are not raw.
	b.list = ring.NewGather(1, maxMaxQueueLen)
}

// give has a message leave that put appends to a bundle, and returns when it is written.
// It is no longer than most.
func (b *bundles) give(most int, put func(buf []byte) []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wait > 0 && b.sock.Closed() { // which no write would tell in time
		return b.sock.fail("verdict", ErrClosed)
	}
	for len(b.filling.buf) > 0 && len(b.filling.buf)+most > b.sock.sendLimit {
		if b.wait > 0 {
			b.keep(b.leave(b.filling))
			continue
		}
		b.change.Wait() // there is one before it
	}
	f := b.filling
	f.buf = put(f.buf)
	f.count++
	if b.wait > 0 {
		return b.gathered(f)
	}
	return b.leave(f)
}

// leave has f written, which is being filled, by this goroutine or another one, and
// returns when it is. The caller holds mu.
func (b *bundles) leave(f *bundle) error {
	f.users++
	for !f.written {
		if b.writing {
			b.change.Wait()
			continue
		}
		b.writing, b.filling = true, b.next()
		b.mu.Unlock()
		err := b.write(f.buf)
		b.mu.Lock()
		b.writing, f.written, f.err = false, true, err
		b.change.Broadcast()
	}
	err := f.err
	if f.users--; f.users == 0 {
		b.free = append(b.free, f)
	}
	return err
}

// next returns an empty bundle. The caller holds mu.
func (b *bundles) next() *bundle {
	n := len(b.free)
	if n == 0 {
		return &bundle{}
	}
	f := b.free[n-1]
	b.free = b.free[:n-1]
	*f = bundle{buf: f.buf[:0]}
	return f
}

// write sends messages in one datagram, or, where the socket does not take that any more,
// one by one.
func (b *bundles) write(messages []byte) error {
	var err error
	// Control, so that a Close meanwhile does not pull the descriptor away.
	if cerr := b.sock.Raw().Control(func(uintptr) {
		if err = b.send(messages); !errors.Is(err, syscall.EMSGSIZE) {
			return
		}
		err = nil
		for rest := messages; len(rest) > 0; {
			_, msg, behind, ok := zerocopy.NextMessage(rest)
			if !ok {
				break // cannot be: the messages are its own
			}
			err = errors.Join(err, b.send(rest[:len(msg)+zerocopy.Pad(len(msg))]))
			rest = behind
		}
	}); cerr != nil {
		return b.sock.fail("verdict", ErrClosed)
	}
	return err
}

func (b *bundles) send(messages []byte) error {
	b.list.Reset()
	b.list.Add(messages)
	return b.sock.write(b.list, &b.count)
}

// gather has verdicts wait for others.
func (b *bundles) gather(wait time.Duration, most int) {
	if wait > 0 {
		b.wait, b.most = wait, most
		b.timer = time.AfterFunc(wait, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.keep(b.flush())
		})
		b.timer.Stop()
	}
}

// gathered is the end of give for verdicts that wait for others, of which f has one
// more. The caller holds mu.
func (b *bundles) gathered(f *bundle) error {
	switch {
	case f.count >= b.most && !b.writing:
		b.keep(b.leave(f))
	case f.count == 1:
		b.timer.Reset(b.wait)
	}
	err := b.failed
	b.failed = nil
	return err
}

// keep remembers an error for whoever comes next.
func (b *bundles) keep(err error) {
	if b.failed == nil {
		b.failed = err
	}
}

// flush has everything leave that was given, and returns when it has. The caller holds
// mu.
func (b *bundles) flush() error {
	f := b.filling
	if len(f.buf) > 0 {
		return b.leave(f)
	}
	for b.writing && b.filling == f {
		b.change.Wait()
	}
	return nil
}

// Flush has the verdicts written that wait for others, with [Config.GatherFor], and
// returns when they are. Its error may be that of an earlier write, which nobody has been
// told of. It may be called from any goroutine.
func (c *Conn) Flush() error {
	b := &c.verdicts
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.flush()
	if b.failed != nil {
		err, b.failed = b.failed, nil
	}
	return err
}
