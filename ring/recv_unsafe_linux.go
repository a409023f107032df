package ring

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RawLimit is the most messages that one system call of this package handles
// without telling the Go scheduler.
//
// The calls never block, so entering and leaving the scheduler around each
// (some hundred nanoseconds, and a processor lost to another goroutine when
// the call takes over 20 µs) would be pure cost at small batches. But while a
// raw call runs, its thread cannot be stopped for the garbage collector. A
// packet costs at most about 3 µs in either direction, so 64 bound the wait to
// some 200 µs; larger batches pay for the scheduler, which they also amortise.
const RawLimit = 64

// mmsghdr is struct mmsghdr; the compiler pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

type batchSys struct {
	hdrs []mmsghdr
	iovs []unix.Iovec
}

// link points message header i to slot i: the kernel reads these arrays and writes
// only lengths and flags.
func (s *batchSys) link(b *Batch) {
	s.hdrs = make([]mmsghdr, b.slots)
	s.iovs = make([]unix.Iovec, b.slots)
	for i := range s.hdrs {
		s.point(i, b.buffers[i])
		s.iovs[i].SetLen(b.recvSize)
		s.hdrs[i].hdr.Iov = &s.iovs[i]
		s.hdrs[i].hdr.SetIovlen(1)
	}
}

// point has message header i received into buf.
func (s *batchSys) point(i int, buf []byte) { s.iovs[i].Base = &buf[0] }

// Recv receives what the socket holds, at most Slots datagrams, and returns
// how many; it never blocks. A datagram longer than [Config.RecvSize] is cut
// (see [Batch.Truncated]). Interrupted calls are repeated. EAGAIN means that
// the socket held nothing; other errors are the socket's.
//
// Fewer than Slots datagrams mean that the socket was empty for a moment.
func (b *Batch) Recv(fd int) (int, syscall.Errno) {
	for {
		var n uintptr
		var errno syscall.Errno
		if p := unsafe.Pointer(&b.sys.hdrs[0]); b.slots <= RawLimit {
			n, _, errno = unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(p), uintptr(b.slots), unix.MSG_DONTWAIT, 0, 0)
		} else {
			n, _, errno = unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(p), uintptr(b.slots), unix.MSG_DONTWAIT, 0, 0)
		}
		switch errno {
		case 0:
			b.n = int(n)
			return b.n, 0
		case unix.EINTR:
		default:
			b.n = 0
			return 0, errno
		}
	}
}

func (b *Batch) received(i int) int { return int(b.sys.hdrs[i].len) }

func (b *Batch) setReceived(i, n int, cut bool) {
	h := &b.sys.hdrs[i]
	h.len, h.hdr.Flags = uint32(n), 0
	if cut {
		h.hdr.Flags = unix.MSG_TRUNC
	}
}

// Truncated reports whether datagram i was longer than [Config.RecvSize] and
// lost its end.
func (b *Batch) Truncated(i int) bool { return b.sys.hdrs[i].hdr.Flags&unix.MSG_TRUNC != 0 }
