package fakekernel

import (
	"os"
	"sync"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// maxDatagram is more than a write of verdicts can be: the engine's bound is
// two payloads of 64 KiB.
const maxDatagram = 256 << 10

// A Kernel is the kernel's side of one queue.
type Kernel struct {
	number uint16
	user   *os.File // the other side's end
	file   *os.File
	raw    syscall.RawConn // of file
	conn   *netlink.Conn
	direct bool          // verdicts are taken within SendMsg
	memory *memory       // takes the place of the socket pair, if not nil
	done   chan struct{} // closed when serve has ended

	mu     sync.Mutex
	fd     int // of file; -1 once closed
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

// New returns the kernel's side of a queue, which takes verdicts from now on.
func New(number uint16) (*Kernel, error) {
	k, err := newKernel(number)
	if err == nil {
		go k.serve()
	}
	return k, err
}

// NewDirect is New for a program that sends verdicts through SendMsg.
func NewDirect(number uint16) (*Kernel, error) {
	k, err := newKernel(number)
	if err == nil {
		k.direct = true
		close(k.done)
	}
	return k, err
}

func newKernel(number uint16) (*Kernel, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	k := &Kernel{
		number:   number,
		user:     os.NewFile(uintptr(fds[0]), "queue"),
		file:     os.NewFile(uintptr(fds[1]), "kernel"),
		fd:       fds[1],
		in:       make([]byte, maxDatagram),
		done:     make(chan struct{}),
		verdicts: make(map[uint32]Verdict),
	}
	if k.raw, err = k.file.SyscallConn(); err != nil {
		return nil, err
	}
	k.conn = netlink.NewConn(&Socket{File: k.user, Config: k.config, Closed: k.userClosed}, 4711)
	return k, nil
}

// Conn returns the socket for the program under test.
func (k *Kernel) Conn() *netlink.Conn { return k.conn }

// Close ends the kernel's side and waits for its goroutine.
func (k *Kernel) Close() error {
	k.mu.Lock()
	k.fd = -1
	k.mu.Unlock()
	err := k.file.Close()
	<-k.done
	return err
}

// Counters returns the counts so far.
func (k *Kernel) Counters() Counters {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.count
}

// serve takes verdicts until the socket is closed on either side.
func (k *Kernel) serve() {
	defer close(k.done)
	for open := true; open; {
		err := k.raw.Read(func(uintptr) bool {
			k.mu.Lock()
			defer k.mu.Unlock()
			var any bool
			any, open = k.takeAll()
			return any || !open
		})
		open = open && err == nil
	}
}

// takeAll takes what the socket holds. It reports whether that was anything,
// and whether the socket is open.
func (k *Kernel) takeAll() (any, open bool) {
	for k.fd >= 0 {
		switch n, err := unix.Read(k.fd, k.in); {
		case err == unix.EAGAIN:
			return any, true
		case err != nil || n == 0:
			return any, false
		default:
			k.take(k.in[:n])
			any = true
		}
	}
	return any, false
}
