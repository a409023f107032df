package ipq

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/zerocopy"
)

// A Conn is one queue without an engine: a socket to read packets from and
// write verdicts to, in the manner of libipq(3).
//
// One goroutine at a time may read; verdicts may be given from any.
type Conn struct {
	cfg  *Config
	sock *socket

	// Of the reader:
	batch *batch
	next  int // message in batch that is read next
	out   []*Packet
	err   error // that the next read returns

	verdicts bundles
}

// Dial binds the queue number cfg.Queue. Of the engine's fields in cfg
// BatchSize is used, as the most packets of a [Conn.ReadBatch]; Queues must be
// 0 or 1. Errors are those of [Open].
func Dial(cfg Config) (*Conn, error) { return dial(cfg, dialSocket) }

// DialFile is [Dial] on a netlink socket that is there already and listens on no queue
// yet, which it binds: one that a program has made, and set options of, by itself, or got
// from one with more rights. The kernel asks for CAP_NET_ADMIN of who binds it and of who
// has made it.
//
// The file is duplicated, and is the caller's to close. The network namespace is that of
// the socket: [Config.NetNS] may be 0, and must not be another. As the file and the Conn
// are one socket, Close unbinds the queue only when the file is closed, too; and what else
// the caller does with the socket, such as to send messages of its own, takes effect on
// the queue. Errors are those of Dial.
func DialFile(cfg Config, f *os.File) (*Conn, error) {
	return dial(cfg, func(cfg *Config, queue uint16) (*socket, error) {
		s, err := nfsock.Take(cfg.options(queue), f)
		if err != nil {
			return nil, opError("adopt", queue, err)
		}
		return newSocket(s), nil
	})
}

// ConnFromFile makes a Conn of a socket that is bound to the queue already, as [FromFile]
// makes a Queue: for a program that binds its queue before it can run Go, or that gets the
// socket from another, such as by [Queue.File]. The file is duplicated, and is the caller's
// to close. Errors are those of [Dial] and FromFile.
//
// [Conn.Close] unbinds the queue, also for others who have the socket.
func ConnFromFile(cfg Config, f *os.File) (*Conn, error) {
	return dial(cfg, adopt([]*os.File{f}))
}

// dial opens a Conn of what a user has configured, on a socket that open makes.
func dial(cfg Config, open dialFunc) (*Conn, error) {
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
	if cfg.Observe {
		return nil, errNoObserver
	}
	if err := cfg.checkMemory(); err != nil {
		return nil, err
	}
	c, err := openConn(&cfg, open)
	if err != nil {
		return nil, err
	}
	c.sock.rejects = c.sock.openRejecter(c.cfg)
	return c, nil
}

// openConn opens a Conn on a socket that dial makes.
func openConn(cfg *Config, dial dialFunc) (*Conn, error) {
	sock, r, err := openSocket(cfg, cfg.Queue, 1, dial)
	if err != nil {
		return nil, err
	}
	c := &Conn{cfg: cfg, sock: sock, batch: newBatch(r.TryGet(), sock)}
	c.verdicts.init(sock)
	c.verdicts.gather(cfg.GatherFor, cfg.BatchSize)
	return c, nil
}

var errNoObserver = fmt.Errorf("%w: a Conn sends what verdicts it is given: Config.Observe is for a Queue", ErrConfig)

var errOneQueue = fmt.Errorf("%w: a Conn serves one queue: Config.Queues must be 0 or 1", ErrConfig)

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
// in it, and closes the socket. Verdicts that wait for others, with [Config.GatherFor],
// are written before. A read that waits returns [ErrClosed]. It may be called many times,
// from any goroutine.
func (c *Conn) Close() error {
	var err error
	if !c.sock.Closed() {
		err = c.Flush()
	}
	return errors.Join(err, c.sock.Close(), c.sock.rejects.close())
}

// Read returns the next packet, borrowed until the next read. It waits for one
// as long as timeout says: 0 means without limit, less than 0 not at all. When
// the time is over it returns [ErrTimeout], and after Close [ErrClosed], also
// where packets have been received that were not read yet.
//
// A [*VerdictError] reports a verdict that the kernel refused, which comes with a
// [CapabilityError] or [ErrUnbound] when it will refuse all; an error that
// matches [ErrUndecodable] comes with a packet of which nothing but the id may
// be known, and which wants a verdict. Reading can go on after these, as after
// a time-out. Other errors are of type [*OpError].
func (c *Conn) Read(timeout time.Duration) (*Packet, error) {
	for {
		if c.sock.Closed() { // no verdict could be given on what is left
			return nil, c.sock.fail("receive", ErrClosed)
		}
		for c.next < c.batch.Len() {
			i := c.next
			c.next++
			if p, err := c.message(i); p != nil || err != nil {
				return p, err
			}
		}
		if err := c.fill(timeout); err != nil {
			return nil, err
		}
	}
}

// ReadBatch is Read for all packets that the socket holds, up to
// [Config.BatchSize], at least one. They and the slice are borrowed until the
// next read. When something stands between the packets that Read returns as an
// error, the next read returns it.
func (c *Conn) ReadBatch(timeout time.Duration) ([]*Packet, error) {
	c.out = c.out[:0]
	if err := c.err; err != nil && !c.sock.Closed() {
		c.err = nil
		return nil, err
	}
	p, err := c.Read(timeout)
	if p == nil {
		return nil, err
	}
	c.out, c.err = append(c.out, p), err
	for c.next < c.batch.Len() && c.err == nil {
		i := c.next
		c.next++
		p, c.err = c.message(i)
		if p != nil {
			c.out = append(c.out, p)
		}
	}
	return c.out, nil
}

// message decodes message i of the batch. It returns neither a packet nor an
// error for what is of no interest.
func (c *Conn) message(i int) (*Packet, error) {
	p, kind := c.batch.decode(i)
	switch kind {
	case isPacket:
		return p, nil
	case isBroken:
		if !p.msg.HasID() {
			p = nil
		}
		return p, c.sock.fail("receive", ErrUndecodable)
	}
	e, err := zerocopy.DecodeError(c.batch.Msg(i))
	if err != nil || e.Errno == 0 {
		return nil, nil
	}
	if e.Type == zerocopy.TypeConfig {
		return nil, c.sock.fail("configure", c.sock.refused(syscall.Errno(e.Errno)))
	}
	refused := &VerdictError{ID: e.Seq, Errno: syscall.Errno(e.Errno)}
	switch refused.Errno {
	case syscall.EPERM, syscall.ENODEV: // of this verdict, and of any
		return nil, c.sock.fail("verdict", fmt.Errorf("%w: %w", refused, c.sock.refused(refused.Errno)))
	}
	return nil, refused
}

// fill receives a batch of at least one message.
func (c *Conn) fill(timeout time.Duration) error {
	c.batch.recycle()
	c.next = 0
	var errno syscall.Errno
	look := func(fd uintptr) (done bool) {
		for {
			if _, errno = c.sock.recv(c.batch.Batch, int(fd)); errno != syscall.ENOBUFS {
				return errno != syscall.EAGAIN
			}
			// An overrun, told once; what did not fit is lost already.
		}
	}
	var err error
	if timeout < 0 {
		err = c.sock.Raw().Control(func(fd uintptr) { look(fd) })
	} else {
		var deadline time.Time
		if timeout > 0 {
			deadline = time.Now().Add(timeout)
		}
		if err = c.sock.SetReadDeadline(deadline); err == nil {
			err = c.sock.Raw().Read(look)
		}
	}
	switch {
	case c.sock.Closed():
		return c.sock.fail("receive", ErrClosed)
	case errors.Is(err, os.ErrDeadlineExceeded), err == nil && errno == syscall.EAGAIN:
		return ErrTimeout
	case err == nil && errno != 0:
		err = errno
	}
	if err != nil {
		return c.sock.fail("receive", err)
	}
	return nil
}

// SetReadBuffer changes the size of the receive buffer, in bytes as [Config.ReadBuffer]
// counts them, and returns what was granted. It may be called from any goroutine.
func (c *Conn) SetReadBuffer(bytes int) (granted int, err error) {
	return c.sock.resizeReadBuffer(bytes)
}

// SyscallConn returns the socket, for programs that poll it and then call Read with a
// timeout of less than 0. Packets that Read has received and not returned yet do not make
// the socket readable: read until [ErrTimeout] before polling. Whoever reads from the
// descriptor takes packets out, and answers for their verdicts.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.sock.Closed() {
		return nil, c.sock.fail("file", ErrClosed)
	}
	return c.sock.Raw(), nil
}
