package ipq

import (
	"sync/atomic"
	"syscall"
	"time"

	"github.com/goipq/goipq/ring"
)

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
	errno := s.send(list, s.fd)
	for n, pause := 0, firstPause; transient(errno) && n < maxRetries && !s.hasty.Load(); n++ {
		if retries != nil {
			retries.Add(1)
		}
		time.Sleep(pause)
		pause = min(2*pause, maxPause)
		errno = s.send(list, s.fd)
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
