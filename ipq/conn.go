package ipq

import (
	"fmt"
	"sync"
	"syscall"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// A Conn is one queue without an engine: a socket to read packets from and
// write verdicts to, in the manner of libipq(3). [Queue] is built on it.
//
// One goroutine at a time may read; verdicts may be given from any.
type Conn struct {
	cfg  *Config
	sock *socket
	ring *ring.Ring

	// Of the reader:
	batch *batch
	next  int // message in batch that is read next
	out   []*Packet
	err   error // that the next read returns

	mu   sync.Mutex // of those who give verdicts
	list *ring.Gather
	buf  []byte
	// payload is the copy of a payload, with room for its padding.
	payload []byte
}

type dialFunc func(cfg *Config, queue uint16) (*socket, error)

// Dial binds the queue number cfg.Queue. Of the engine's fields in cfg
// BatchSize is used, as the most packets of a [Conn.ReadBatch]; Queues must be
// 0 or 1. Errors are those of [Open].
func Dial(cfg Config) (*Conn, error) {
	release, err := cfg.holdNetNS()
	if err != nil {
		return nil, err
	}
	defer release()
	cfg.Workers, cfg.Batches, cfg.Overload = Inline, 1, Wait
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Queues != 1 {
		return nil, errOneQueue
	}
	if err := cfg.checkMemory(); err != nil {
		return nil, err
	}
	c, err := openConn(&cfg, cfg.Queue, 1, dialSocket)
	if err != nil {
		return nil, err
	}
	return c.open(), nil
}

var errOneQueue = fmt.Errorf("%w: a Conn serves one queue: Config.Queues must be 0 or 1", ErrConfig)

// openConn allocates that many batches of buffers for a queue, dials and binds
// it.
func openConn(cfg *Config, queue uint16, batches int, dial dialFunc) (*Conn, error) {
	r, err := ring.New(ring.Config{
		Batches:  batches,
		Slots:    cfg.BatchSize,
		RecvSize: zerocopy.MaxOverhead + cfg.SnapLen,
		// Room for the largest payload that a handler can set, and its
		// padding, wherever the received one begins.
		SlotSize:    zerocopy.MaxOverhead + zerocopy.MaxCopyRange + 3,
		VerdictSize: zerocopy.MaxVerdictLen,
	})
	if err != nil {
		return nil, err
	}
	sock, err := dial(cfg, queue)
	if err != nil {
		return nil, err
	}
	if err := sock.bind(cfg); err != nil {
		sock.Close()
		return nil, err
	}
	return &Conn{cfg: cfg, sock: sock, ring: r}, nil
}

// open makes c ready for reading and for verdicts, which a Queue does its own
// way.
func (c *Conn) open() *Conn {
	c.batch = newBatch(c.ring.TryGet(), c.sock)
	// A batch verdict can decide all that the kernel holds, so the calls are
	// not raw.
	c.list = ring.NewGather(2, maxMaxQueueLen)
	c.buf = make([]byte, zerocopy.MaxVerdictLen)
	return c
}

// SetMode changes how much of each packet is copied: [CopyMeta], or
// [CopyPacket] with snapLen bytes, where 0 means what [Config.SnapLen] is. It
// acts on packets queued from now on. snapLen beyond Config.SnapLen is cut to
// it, because the buffers are that large.
//
// The request is not acknowledged, since packets stand before the answer; a
// refusal, which a bound queue gives no reason for, is the error of a later
// read.
func (c *Conn) SetMode(mode CopyMode, snapLen int) error {
	if snapLen <= 0 || snapLen > c.cfg.SnapLen {
		snapLen = c.cfg.SnapLen
	}
	if err := c.sock.SetCopy(mode.kernel(), snapLen); err != nil {
		return c.sock.fail("configure", err)
	}
	return nil
}

// Close unbinds the queue, upon which the kernel drops the packets that wait
// in it, and closes the socket. A read that waits returns [ErrClosed]. It may
// be called many times, from any goroutine.
func (c *Conn) Close() error { return c.sock.Close() }

// SetVerdict decides the packet with that id. A payload that is not nil
// replaces the packet: lengths and checksums are made right as by
// [Packet.SetPayload], but nothing is known of the packet that it replaces, so
// that only [ErrTooLarge], [ErrNotIP] and a payload that ends within its headers
// ([ErrUndeliverable]) are found. It is copied. The mark of v is set, too.
//
// That the kernel refuses the verdict is known later: it is the
// [*VerdictError] of a read. An [*OpError] here means that it was not sent.
func (c *Conn) SetVerdict(id uint32, v Verdict, payload []byte) error {
	if payload != nil {
		if len(payload) > min(zerocopy.MaxCopyRange, c.sock.maxPayload()) {
			return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(payload))
		}
		if zerocopy.HeadOf(payload).Version == 0 {
			return ErrNotIP
		}
		if !zerocopy.Whole(payload) {
			return fmt.Errorf("%w: it ends within its headers", ErrUndeliverable)
		}
	}
	return c.decide(id, v, edits{payload: payload, replaced: true})
}

// Decide decides p with all that was edited of it. It is to be called before
// the next read. Errors are those of SetVerdict.
func (c *Conn) Decide(p *Packet, v Verdict) error {
	if p.misedited() && v&verdictCode != Drop {
		return c.sock.fail("verdict", fmt.Errorf("%w: EditPayload has changed what must stay", ErrUndeliverable))
	}
	return c.decide(p.ID(), v, p.edit)
}

func (c *Conn) decide(id uint32, v Verdict, e edits) error {
	if !v.valid() {
		return c.sock.fail("verdict", fmt.Errorf("%w: %v", syscall.EINVAL, v))
	}
	a := e.attrs
	if mark, ok := v.Mark(); ok {
		a.Has |= zerocopy.HasMark
		a.Mark = mark
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var body []byte
	if e.payload != nil {
		a.Has |= zerocopy.HasPayload
		a.PayloadLen = len(e.payload)
		c.payload = append(append(c.payload[:0], e.payload...), 0, 0, 0) // room for padding
		e.payload = c.payload[:len(e.payload)]
		body = e.finish(c.cfg.KeepChecksums)
	}
	n := zerocopy.PutVerdictAttrs(c.buf, c.sock.Queue(), id, v.kernel(), &a)
	return c.write(c.buf[:n], body)
}

// SetVerdictBatch decides, all alike, the packets that wait in the queue up to
// and including the one with that id: also those that were not read yet and,
// where another process has the socket, too, those that it has read. Neither a
// mark nor anything else goes with v.
func (c *Conn) SetVerdictBatch(id uint32, v Verdict) error {
	if _, marked := v.Mark(); marked || !v.valid() {
		return c.sock.fail("verdict", fmt.Errorf("%w: %v for a batch", syscall.EINVAL, v))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(c.buf[:zerocopy.PutVerdictBatch(c.buf, c.sock.Queue(), id, v.kernel())], nil)
}

// write sends a message in one or two pieces.
func (c *Conn) write(msg, body []byte) error {
	c.list.Reset()
	c.list.Add(msg)
	if len(body) != 0 {
		c.list.Add(body)
	}
	var werr error
	// Control, so that a Close meanwhile does not pull the descriptor away.
	if err := c.sock.Raw().Control(func(uintptr) { werr = c.sock.write(c.list, nil) }); err != nil {
		return c.sock.fail("verdict", ErrClosed)
	}
	return werr
}
