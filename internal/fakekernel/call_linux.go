package fakekernel

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/ring"
)

// RecvMsg is b.Recv, unless it is to fail.
func (k *Kernel) RecvMsg(b *ring.Batch, fd int) (int, syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	errno := k.faults.next(&k.faults.recv, k.faults.Recv)
	k.count.RecvFaults[errno]++
	switch {
	case errno != 0:
		return 0, errno
	case k.memory != nil:
		n, errno := k.memory.recv(b, fd)
		if n > 0 {
			k.notify() // there is room
		}
		return n, errno
	}
	return b.Recv(fd)
}

// SendMsg is g.Send, unless it is to fail. With NewDirect the verdicts have
// been taken when it returns.
func (k *Kernel) SendMsg(g *ring.Gather, fd int) syscall.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	errno := k.faults.next(&k.faults.send, k.faults.Send)
	if limit := k.faults.sendLimit; errno == 0 && limit > 0 && g.Size() > limit {
		errno = syscall.EMSGSIZE
	}
	k.count.SendFaults[errno]++
	if errno != 0 {
		return errno
	}
	if k.memory != nil {
		n := 0
		for i := range g.Len() {
			n += copy(k.in[n:], g.Piece(i))
		}
		k.take(k.in[:n])
		return 0
	}
	if errno := g.Send(fd); errno != 0 || !k.direct || k.fd < 0 {
		return errno
	}
	if n, err := unix.Read(k.fd, k.in); err == nil {
		k.take(k.in[:n])
	}
	return 0
}
