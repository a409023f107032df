package nfsock

import (
	"fmt"
	"os"

	"github.com/goipq/goipq/internal/zerocopy"
)

const (
	// sendOverhead is what netlink_sendmsg keeps free of SO_SNDBUF.
	sendOverhead = 32
	// maxAutoReadBuffer bounds the receive buffer that is sized from QueueLen.
	maxAutoReadBuffer = 64 << 20
)

func (s *Socket) sizeBuffers(o *Options) error {
	want := o.ReadBuffer
	if want == 0 {
		want = min(o.QueueLen*truesize(o), maxAutoReadBuffer)
	}
	got, err := s.SetReadBuffer(want)
	if err != nil {
		return err
	}
	if got < want {
		o.Logger.Warn("ipq: receive buffer is smaller than asked for: raise net.core.rmem_max, or lower MaxQueueLen",
			"queue", s.queue, "want", want, "got", got)
	}

	size, err := s.nl.WriteBuffer()
	if err == nil && size < MaxSendLimit+sendOverhead {
		if err = s.nl.SetWriteBuffer(MaxSendLimit); err == nil {
			size, err = s.nl.WriteBuffer()
		}
	}
	s.sendLimit = min(size-sendOverhead, MaxSendLimit)
	return err
}

// SetReadBuffer sets the size of the receive buffer as the kernel counts it, and returns
// what the kernel has made of it. It may be called while packets are received.
func (s *Socket) SetReadBuffer(want int) (got int, err error) {
	if s.closed.Load() {
		return 0, os.ErrClosed
	}
	// The kernel doubles what is set, and counts by the doubled.
	if err := s.nl.SetReadBuffer(want/2 + want%2); err != nil {
		return 0, fmt.Errorf("set the receive buffer to %d bytes: %w", want, err)
	}
	if got, err = s.nl.ReadBuffer(); err == nil {
		s.readBuffer.Store(int64(got))
	}
	return got, err
}

// truesize returns about what a usual packet takes of the receive buffer: the
// power of two that holds its bytes and 512 of attributes and bookkeeping, and
// 384. That makes 896 for the smallest packets and 2432 for a full frame. The
// kernel takes 256 for the sk_buff and, for its data, at least 576 or, configured
// as Debian's is since 6.3, 640: 832 or 896, and 2304.
func truesize(o *Options) int {
	n := 1500 // a full frame
	if o.Flags&zerocopy.FlagGSO != 0 {
		n = o.CopyRange
	}
	if o.CopyMode == zerocopy.CopyMeta {
		n = 0
	}
	n = min(n, o.CopyRange) + 512
	size := 512
	for size < n {
		size *= 2
	}
	return size + 384
}
