package fakekernel

import (
	"context"
	"syscall"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/ring"
)

// memoryLimit is how many messages a memory holds.
const memoryLimit = 4096

// A memory is the wire that is memory. It makes no system call, and so works on any
// system.
type memory struct {
	k        *Kernel
	messages [][]byte // those from next on have not been received
	next     int
	free     [][]byte
	isShut   bool
	user     *memoryConn
}

// NewMemory returns the kernel's side of a queue for a program that receives through
// RecvMsg and sends through SendMsg. No packet and no verdict takes a system call, so
// that it is several times faster than New.
func NewMemory(number uint16) *Kernel {
	k := newKernel(number)
	m := &memory{k: k, user: newMemoryConn(k.config, k.userClosed)}
	k.wire, k.conn = m, netlink.NewConn(m.user, portID)
	return k
}

// write implements wire.
func (m *memory) write(b []byte) error {
	switch waiting := len(m.messages) - m.next; {
	case m.isShut:
		return syscall.EBADF
	case waiting >= memoryLimit:
		return syscall.EAGAIN
	case waiting == 0:
		m.user.poller.wake() // who waits has found nothing
	}
	var buf []byte
	if n := len(m.free); n > 0 {
		buf, m.free = m.free[n-1], m.free[:n-1]
	}
	m.messages = append(m.messages, append(buf[:0], b...))
	return nil
}

// receive implements wire: it moves messages into b.
func (m *memory) receive(b *ring.Batch, _ int) (int, syscall.Errno) {
	b.Recycle()
	for m.next < len(m.messages) && b.Append(m.messages[m.next]) {
		m.free = append(m.free, m.messages[m.next])
		m.next++
	}
	if m.next == len(m.messages) {
		m.messages, m.next = m.messages[:0], 0
	}
	if b.Len() == 0 {
		return 0, syscall.EAGAIN
	}
	m.k.notify() // there is room
	return b.Len(), 0
}

// send implements wire.
func (m *memory) send(g *ring.Gather, _ int) syscall.Errno {
	n := 0
	for i := range g.Len() {
		n += copy(m.k.in[n:], g.Piece(i))
	}
	m.k.take(m.k.in[:n])
	return 0
}

// takeAll implements wire: send has taken all.
func (m *memory) takeAll() (any, open bool) { return false, !m.isShut }

// await implements wire.
func (m *memory) await(try func() bool) error { return m.k.await(context.Background(), try) }

// listens implements wire. Who waits for room is told of every change.
func (m *memory) listens(bool) {}

// shut implements wire.
func (m *memory) shut() {
	m.isShut = true
	m.k.notify()
}

// close implements wire.
func (m *memory) close() error { return nil }
