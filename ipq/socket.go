package ipq

import (
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/seam"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// A socket is a queue's netlink socket, with the two calls of the hot path.
type socket struct {
	*nfsock.Socket

	// Tests have them fail.
	recv func(b *ring.Batch, fd int) (int, syscall.Errno)
	send func(g *ring.Gather, fd int) syscall.Errno

	rejects   *rejecter   // nil: nobody can be told
	sendLimit int         // bytes that one write may have
	hasty     atomic.Bool // writes are not repeated any more
}

func newSocket(s *nfsock.Socket) *socket {
	return &socket{Socket: s, recv: (*ring.Batch).Recv, send: (*ring.Gather).Send, sendLimit: s.SendLimit()}
}

// dialSocket opens a socket for a queue, and does not bind it.
func dialSocket(cfg *Config, queue uint16) (*socket, error) {
	s, err := nfsock.Dial(cfg.options(queue))
	if err != nil {
		return nil, opError("open", queue, err)
	}
	return newSocket(s), nil
}

type dialFunc func(cfg *Config, queue uint16) (*socket, error)

// openSocket allocates that many batches of buffers for a queue, dials and binds
// it.
func openSocket(cfg *Config, queue uint16, batches int, dial dialFunc) (*socket, *ring.Ring, error) {
	r, err := ring.New(ring.Config{
		Batches:  batches,
		Slots:    cfg.BatchSize,
		RecvSize: zerocopy.MaxOverhead + cfg.SnapLen,
		// Room for the largest payload that a handler can set, and its
		// padding, wherever the received one begins.
		SlotSize:    BufferSize,
		VerdictSize: zerocopy.MaxVerdictLen,
	})
	if err != nil {
		return nil, nil, err
	}
	sock, err := dial(cfg, queue)
	if err != nil {
		return nil, nil, err
	}
	if err := sock.bind(cfg); err != nil {
		sock.Close()
		return nil, nil, err
	}
	return sock, r, nil
}

// bind binds the queue, or configures it if it was adopted.
func (s *socket) bind(cfg *Config) error {
	err := s.Bind(cfg.options(s.Queue()))
	switch {
	case err == nil:
		return nil
	case s.Adopted():
		return s.fail("configure", err)
	}
	return s.fail("bind", err)
}

func (s *socket) fail(op string, err error) error { return opError(op, s.Queue(), err) }

// refused finds out what it means that the kernel refuses to configure the queue,
// or a verdict on it.
func (s *socket) refused(errno syscall.Errno) error { return public(s.Refused(errno)) }

// maxPayload returns the longest payload that fits into a write.
func (s *socket) maxPayload() int { return s.sendLimit - zerocopy.MaxVerdictLen - 3 }

// resizeReadBuffer changes the size of the receive buffer.
func (s *socket) resizeReadBuffer(bytes int) (granted int, err error) {
	if bytes <= 0 {
		return 0, s.fail("configure", fmt.Errorf("%w: a receive buffer of %d bytes", os.ErrInvalid, bytes))
	}
	if granted, err = s.SetReadBuffer(bytes); err != nil {
		return 0, s.fail("configure", err)
	}
	return granted, nil
}

// nowhere is where the answers of Reject go under test.
type nowhere struct{}

func (nowhere) Send([]byte, netip.Addr, int) error       { return nil }
func (nowhere) SendICMPv6([]byte, netip.Addr, int) error { return nil }
func (nowhere) Broadcast(netip.Addr) bool                { return false }
func (nowhere) Close() error                             { return nil }

func init() {
	seam.Open = func(cfg any, dial func(*nfsock.Options) (seam.Link, error)) (any, error) {
		c, err := cfg.(Config).withDefaults()
		if err != nil {
			return nil, err
		}
		q, err := openQueue(c, func(cfg *Config, queue uint16) (*socket, error) {
			link, err := dial(cfg.options(queue))
			if err != nil {
				return nil, opError("open", queue, err)
			}
			s := newSocket(link.Socket)
			s.recv, s.send = link.Recv, link.Send
			s.rejects = &rejecter{cfg: cfg, out: nowhere{}}
			return s, nil
		})
		if err != nil {
			return nil, err
		}
		return q, nil
	}
	seam.Packet = func(msg []byte, s *nfsock.Socket) (any, error) {
		r, err := ring.New(ring.Config{Batches: 1, Slots: 1, RecvSize: BufferSize, SlotSize: BufferSize})
		if err != nil {
			return nil, err
		}
		b := newBatch(r.TryGet(), newSocket(s))
		b.Append(msg)
		p, _ := b.decode(0)
		return p, p.msg.Decode(b.Msg(0))
	}
}
