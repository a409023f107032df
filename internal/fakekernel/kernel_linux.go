package fakekernel

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/zerocopy"
)

// maxDatagram is more than a write of verdicts can be: the engine's bound is
// two payloads of 64 KiB.
const maxDatagram = 256 << 10

// A Kernel is the kernel's side of one queue.
type Kernel struct {
	queue uint16
	user  *os.File // the other side's end
	file  *os.File
	conn  *netlink.Conn
	done  chan struct{} // closed when serve has ended

	mu       sync.Mutex
	changed  chan struct{} // closed, and replaced, with every verdict
	lastID   uint32
	waiting  []uint32 // ids, ascending
	verdicts map[uint32]Verdict
	writes   int
	twice    []uint32 // ids that were decided more than once, or never queued
	configs  []Config
	refuse   func(Config) syscall.Errno
}

// A Config is a config message that the kernel got, its attributes by type.
type Config map[uint16][]byte

// New returns the kernel's side of a queue, which takes verdicts from now on.
func New(queue uint16) (*Kernel, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	k := &Kernel{
		queue:    queue,
		user:     os.NewFile(uintptr(fds[0]), "queue"),
		file:     os.NewFile(uintptr(fds[1]), "kernel"),
		done:     make(chan struct{}),
		changed:  make(chan struct{}),
		verdicts: make(map[uint32]Verdict),
	}
	k.conn = netlink.NewConn(&Socket{File: k.user, Config: k.config}, 4711)
	go k.serve()
	return k, nil
}

// Conn returns the socket for the program under test.
func (k *Kernel) Conn() *netlink.Conn { return k.conn }

// Close ends the kernel's side and waits for its goroutine.
func (k *Kernel) Close() error {
	err := k.file.Close()
	<-k.done
	return err
}

// Refuse has config messages answered with the errno that f returns, if it is
// not 0.
func (k *Kernel) Refuse(f func(Config) syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refuse = f
}

// Configs returns the config messages that were accepted.
func (k *Kernel) Configs() []Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Config(nil), k.configs...)
}

// Queue queues a packet and returns its id. It waits while the socket is full.
func (k *Kernel) Queue(p Packet) (id uint32, err error) {
	k.mu.Lock()
	k.lastID++
	id = k.lastID
	k.waiting = append(k.waiting, id)
	k.mu.Unlock()
	return id, k.Send(p.Message(k.queue, id))
}

// Send sends any bytes as one datagram.
func (k *Kernel) Send(b []byte) error {
	_, err := k.file.Write(b)
	return err
}

// Waiting returns how many packets have no verdict.
func (k *Kernel) Waiting() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.waiting)
}

// Verdict waits for the verdict on a packet.
func (k *Kernel) Verdict(ctx context.Context, id uint32) (Verdict, error) {
	for {
		k.mu.Lock()
		v, ok := k.verdicts[id]
		changed := k.changed
		k.mu.Unlock()
		if ok {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Verdict{}, fmt.Errorf("no verdict on packet %d: %w", id, ctx.Err())
		}
	}
}

// Check returns an error unless every packet queued has exactly one verdict.
func (k *Kernel) Check() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.waiting) != 0 || len(k.twice) != 0 || len(k.verdicts) != int(k.lastID) {
		return fmt.Errorf("%d packets, %d verdicts; none on %v; too many on %v", k.lastID, len(k.verdicts), k.waiting, k.twice)
	}
	return nil
}

// serve takes verdicts until the socket is closed on either side.
func (k *Kernel) serve() {
	defer close(k.done)
	buf := make([]byte, maxDatagram)
	for {
		n, err := k.file.Read(buf)
		if err != nil {
			return
		}
		k.mu.Lock()
		k.writes++
		parse(buf[:n], k.verdict)
		close(k.changed)
		k.changed = make(chan struct{})
		k.mu.Unlock()
	}
}

// verdict settles a packet or, for a batch, all up to it.
func (k *Kernel) verdict(_ uint16, id uint32, v Verdict) {
	v.Write = k.writes
	settled := 0
	for i := 0; i < len(k.waiting); {
		w := k.waiting[i]
		if w == id || v.Batch && int32(w-id) < 0 {
			k.verdicts[w] = v
			k.waiting = append(k.waiting[:i], k.waiting[i+1:]...)
			settled++
			continue
		}
		i++
	}
	if settled == 0 {
		k.twice = append(k.twice, id)
	}
}

// config takes a config message, within the sender's call as the kernel does.
func (k *Kernel) config(m netlink.Message) error {
	c := Config{}
	ad, err := netlink.NewAttributeDecoder(m.Data[zerocopy.GenHeaderLen:])
	if err != nil {
		return err
	}
	for ad.Next() {
		c[ad.Type()] = append([]byte(nil), ad.Bytes()...)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuse != nil {
		if errno := k.refuse(c); errno != 0 {
			return k.Send(ErrorMessage(uint32(errno), zerocopy.TypeConfig, m.Header.Sequence))
		}
	}
	k.configs = append(k.configs, c)
	return nil
}
