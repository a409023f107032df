package ipq

import (
	"sync/atomic"
	"syscall"
	"time"

	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// A socket is a queue's netlink socket, with the two calls of the hot path.
type socket struct {
	*nfsock.Socket

	// Tests have them fail.
	recv func(b *ring.Batch, fd int) (int, syscall.Errno)
	send func(g *ring.Gather, fd int) syscall.Errno

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

// maxPayload returns the longest payload that fits into a write.
func (s *socket) maxPayload() int { return s.sendLimit - zerocopy.MaxVerdictLen - 3 }

// The pauses between attempts to write when the kernel is short of memory. A
// second in all: packets that have waited for so long are of no use to anyone.
const (
	firstPause = 10 * time.Microsecond
	maxPause   = 10 * time.Millisecond
	maxRetries = 110 // 10 that double up to maxPause, and 100 of that
)

// write sends what list holds in one datagram, and counts repeated attempts if
// retries is not nil. When the time to drain is over there is one attempt.
func (s *socket) write(list *ring.Gather, retries *atomic.Uint64) error {
	errno := s.send(list, s.FD())
	for n, pause := 0, firstPause; transient(errno) && n < maxRetries && !s.hasty.Load(); n++ {
		if retries != nil {
			retries.Add(1)
		}
		time.Sleep(pause)
		pause = min(2*pause, maxPause)
		errno = s.send(list, s.FD())
	}
	if errno != 0 {
		return s.fail("verdict", errno)
	}
	return nil
}

// transient reports whether a write may succeed when it is tried again.
func transient(errno syscall.Errno) bool {
	return errno == syscall.EAGAIN || errno == syscall.ENOBUFS || errno == syscall.ENOMEM
}
