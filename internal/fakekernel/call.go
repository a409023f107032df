package fakekernel

import (
	"syscall"

	"github.com/goipq/goipq/ring"
)

// RecvMsg is how the program under test receives: it is b.Recv, but with NewMemory, or
// it fails if it is to.
func (k *Kernel) RecvMsg(b *ring.Batch, fd int) (int, syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	errno := k.faults.next(&k.faults.recv, k.faults.Recv)
	k.count.RecvFaults[errno]++
	if errno != 0 {
		return 0, errno
	}
	return k.wire.receive(b, fd)
}

// SendMsg is how the program under test sends: it is g.Send, but with NewMemory, or it
// fails if it is to. With NewDirect and NewMemory the verdicts have been taken when it
// returns.
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
	return k.wire.send(g, fd)
}
