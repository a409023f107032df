package fakekernel

import (
	"sync"
	"syscall"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/ring"
)

// maxDatagram is more than a write of verdicts can be: the engine's bound is
// two payloads of 64 KiB.
const maxDatagram = 256 << 10

// portID is the netlink port id of the user's side.
const portID = 4711

// A Kernel is the kernel's side of one queue.
type Kernel struct {
	number uint16
	wire   wire
	conn   *netlink.Conn

	mu     sync.Mutex
	queue  instance
	lastID uint32
	ledger ledger
	count  Counters
	faults faults

	in      []byte         // a datagram
	out     []byte         // a message
	message verdictMessage // the one being taken

	judge    func(id, tag uint32, v *Verdict) error
	verdicts map[uint32]Verdict // without a judge
	changed  chan struct{}      // closed, and set to nil, with every verdict; nil: nobody waits
	wrong    complaints

	configs []Config
	refuse  func(Config) syscall.Errno
}

// A wire is what messages and verdicts pass over: a socket pair, or memory. All but
// await and close are called under the Kernel's lock.
type wire interface {
	// write sends a message to user space. It returns EAGAIN if there is no room.
	write(b []byte) error
	// receive is how user space receives, and send how it sends.
	receive(b *ring.Batch, fd int) (int, syscall.Errno)
	send(g *ring.Gather, fd int) syscall.Errno
	// takeAll takes the verdicts that have been sent and not taken. It reports whether
	// there were any, and whether more can come.
	takeAll() (any, open bool)
	// await calls try, under the lock, until there was room for what it writes.
	await(try func() (written bool)) error
	// listens says whether the queue is bound: if it is not, nobody waits for room.
	listens(yes bool)
	// shut has writes fail from now on, and close ends the wire.
	shut()
	close() error
}

func newKernel(number uint16) *Kernel {
	return &Kernel{number: number, in: make([]byte, maxDatagram), verdicts: make(map[uint32]Verdict)}
}

// Conn returns the socket for the program under test.
func (k *Kernel) Conn() *netlink.Conn { return k.conn }

// Close ends the kernel's side and waits for its goroutine.
func (k *Kernel) Close() error {
	k.mu.Lock()
	k.wire.shut()
	k.mu.Unlock()
	return k.wire.close()
}

// Counters returns the counts so far.
func (k *Kernel) Counters() Counters {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.count
}
