package fakekernel

import (
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/ring"
)

// A pair is the wire that is a socket pair.
type pair struct {
	k      *Kernel
	file   *os.File // the kernel's end
	raw    syscall.RawConn
	fd     int           // of file; -1 once shut
	direct bool          // verdicts are taken within SendMsg
	done   chan struct{} // closed when serve has ended
}

// New returns the kernel's side of a queue, which takes verdicts from now on.
func New(number uint16) (*Kernel, error) {
	k, p, err := newPair(number)
	if err == nil {
		go p.serve()
	}
	return k, err
}

// NewDirect is New for a program that sends verdicts through SendMsg.
func NewDirect(number uint16) (*Kernel, error) {
	k, p, err := newPair(number)
	if err == nil {
		p.direct = true
		close(p.done)
	}
	return k, err
}

func newPair(number uint16) (*Kernel, *pair, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	k := newKernel(number)
	p := &pair{k: k, file: os.NewFile(uintptr(fds[1]), "kernel"), fd: fds[1], done: make(chan struct{})}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, nil, err
	}
	k.wire = p
	k.conn = netlink.NewConn(&Socket{File: os.NewFile(uintptr(fds[0]), "queue"), Control: k.config, Closed: k.userClosed}, portID)
	return k, p, nil
}

// serve takes verdicts until the socket is closed on either side.
func (p *pair) serve() {
	defer close(p.done)
	for open := true; open; {
		err := p.raw.Read(func(uintptr) bool {
			p.k.mu.Lock()
			defer p.k.mu.Unlock()
			var any bool
			any, open = p.takeAll()
			return any || !open
		})
		open = open && err == nil
	}
}

// takeAll implements wire.
func (p *pair) takeAll() (any, open bool) {
	for p.fd >= 0 {
		switch n, err := unix.Read(p.fd, p.k.in); {
		case err == unix.EAGAIN:
			return any, true
		case err != nil || n == 0:
			return any, false
		default:
			p.k.take(p.k.in[:n])
			any = true
		}
	}
	return any, false
}

// write implements wire.
func (p *pair) write(b []byte) error {
	if p.fd < 0 {
		return syscall.EBADF
	}
	_, err := unix.Write(p.fd, b)
	return err
}

// receive implements wire.
func (p *pair) receive(b *ring.Batch, fd int) (int, syscall.Errno) { return b.Recv(fd) }

// send implements wire.
func (p *pair) send(g *ring.Gather, fd int) syscall.Errno {
	if errno := g.Send(fd); errno != 0 || !p.direct || p.fd < 0 {
		return errno
	}
	if n, err := unix.Read(p.fd, p.k.in); err == nil {
		p.k.take(p.k.in[:n])
	}
	return 0
}

// await implements wire.
func (p *pair) await(try func() bool) error {
	return p.raw.Write(func(uintptr) bool {
		p.k.mu.Lock()
		defer p.k.mu.Unlock()
		return try()
	})
}

// listens implements wire.
func (p *pair) listens(yes bool) {
	deadline := time.Time{}
	if !yes {
		deadline = time.Unix(0, 1)
	}
	_ = p.file.SetWriteDeadline(deadline) // fails only on a closed file
}

// shut implements wire.
func (p *pair) shut() { p.fd = -1 }

// close implements wire.
func (p *pair) close() error {
	err := p.file.Close()
	<-p.done
	return err
}
