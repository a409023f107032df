package fakekernel

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/ring"
)

// memoryLimit is how many messages NewMemory's socket holds.
const memoryLimit = 4096

// memory is a socket that is memory: messages that user space has not received yet.
// The socket pair only wakes it up.
type memory struct {
	messages [][]byte // those from next on wait
	next     int
	free     [][]byte
	woken    bool // there is a datagram in the socket pair, and so it is readable
	one      [1]byte
}

// NewMemory is NewDirect for a program that also receives through RecvMsg. No packet
// and no verdict takes a system call, so that it is several times faster.
func NewMemory(number uint16) (*Kernel, error) {
	k, err := NewDirect(number)
	if err == nil {
		k.memory = new(memory)
	}
	return k, err
}

// write appends a message. It returns EAGAIN if there is no room.
func (m *memory) write(b []byte, fd int) error {
	if len(m.messages)-m.next >= memoryLimit {
		return unix.EAGAIN
	}
	var buf []byte
	if n := len(m.free); n > 0 {
		buf, m.free = m.free[n-1], m.free[:n-1]
	}
	m.messages = append(m.messages, append(buf[:0], b...))
	if m.woken {
		return nil
	}
	m.woken = true
	_, err := unix.Write(fd, m.one[:])
	return err
}

// recv moves messages into b.
func (m *memory) recv(b *ring.Batch, fd int) (int, syscall.Errno) {
	b.Recycle()
	if m.woken {
		// Before the messages are taken: what comes later wakes up again.
		if _, _, err := unix.Recvfrom(fd, m.one[:], unix.MSG_DONTWAIT); err == nil {
			m.woken = false
		}
	}
	for m.next < len(m.messages) && b.Append(m.messages[m.next]) {
		m.free = append(m.free, m.messages[m.next])
		m.next++
	}
	if m.next == len(m.messages) {
		m.messages, m.next = m.messages[:0], 0
	}
	if b.Len() == 0 {
		return 0, unix.EAGAIN
	}
	return b.Len(), 0
}
