package ring

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Gather is a list of byte slices that leave in one sendmsg(2), as one
// datagram. It is allocated once and used again and again, by one goroutine at
// a time.
type Gather struct {
	hdr  unix.Msghdr
	iovs []unix.Iovec
	n    int
	size int
	raw  bool
}

// NewGather returns a Gather for up to pieces slices. messages is how many
// messages one Send carries at most: beyond [RawLimit] Send tells the
// scheduler.
func NewGather(pieces, messages int) *Gather {
	g := &Gather{iovs: make([]unix.Iovec, pieces), raw: messages <= RawLimit}
	g.hdr.Iov = &g.iovs[0]
	return g
}

// Reset empties the list.
func (g *Gather) Reset() {
	// The slices point into batches that outlive the list, so stale pointers
	// keep nothing alive that would otherwise be freed.
	g.n, g.size = 0, 0
}

// Add appends b, which must not be empty and must stay unchanged until Send
// has returned. It reports false, and appends nothing, when the list is full.
func (g *Gather) Add(b []byte) bool {
	if g.n == len(g.iovs) {
		return false
	}
	iov := &g.iovs[g.n]
	iov.Base = &b[0]
	iov.SetLen(len(b))
	g.n++
	g.size += len(b)
	return true
}

// Len returns how many slices are in the list.
func (g *Gather) Len() int { return g.n }

// Size returns how many bytes the list holds.
func (g *Gather) Size() int { return g.size }

// Piece returns slice i of the list, for i < Len.
func (g *Gather) Piece(i int) []byte {
	iov := &g.iovs[i]
	return unsafe.Slice(iov.Base, int(iov.Len))
}

// Send sends the list as one datagram to the socket's peer, without blocking.
// Interrupted calls are repeated; EAGAIN means that the socket's buffer is
// full. The list stays as it is.
func (g *Gather) Send(fd int) syscall.Errno {
	g.hdr.SetIovlen(g.n)
	for {
		var errno syscall.Errno
		if p := unsafe.Pointer(&g.hdr); g.raw {
			_, _, errno = unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(p), unix.MSG_DONTWAIT)
		} else {
			_, _, errno = unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(p), unix.MSG_DONTWAIT)
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}
