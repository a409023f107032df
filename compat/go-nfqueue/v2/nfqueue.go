package nfqueue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/ipq"
)

// patience is how long Close waits for a hook that is running.
const patience = 5 * time.Second

// A Nfqueue is one queue.
type Nfqueue struct {
	// Con is the netlink socket. While a hook is registered it does not receive packets.
	Con *netlink.Conn

	cfg  Config
	log  Logger
	sock *socket

	current atomic.Pointer[registration] // whose hook verdicts are for

	mu     sync.Mutex
	closed bool
}

type silent struct{}

func (silent) Debugf(string, ...interface{}) {}
func (silent) Errorf(string, ...interface{}) {}

// Open makes a socket for the queue. The queue is bound when a hook is registered.
func Open(config *Config) (*Nfqueue, error) {
	if runtime.GOOS != "linux" {
		return nil, ErrNotLinux
	}
	if config.Flags > allFlags {
		return nil, ErrInvFlag
	}
	const netlinkNetfilter = 12
	con, err := netlink.Dial(netlinkNetfilter, &netlink.Config{NetNS: config.NetNS})
	if err != nil {
		return nil, err
	}
	n := &Nfqueue{cfg: *config, log: config.Logger}
	if n.log == nil {
		n.log = silent{}
	}
	n.sock = &socket{nl: con, onClose: n.end}
	n.Con = netlink.NewConn(n.sock, con.PID())
	return n, nil
}

// end ends the registration, if there is one, and lets nobody register any more.
func (nfqueue *Nfqueue) end() {
	nfqueue.mu.Lock()
	nfqueue.closed = true
	r := nfqueue.current.Load()
	nfqueue.mu.Unlock()
	if r != nil {
		r.cancel()
	}
}

// Close ends what is registered, and closes the socket. When it returns no hook is running,
// unless a hook has called it, and none will be. It may be called many times, from any
// goroutine. A hook that has not returned after five seconds is an error, and left alone.
func (nfqueue *Nfqueue) Close() error {
	nfqueue.mu.Lock()
	again := nfqueue.closed
	r := nfqueue.current.Load()
	nfqueue.mu.Unlock()
	nfqueue.end()
	var late error
	if r != nil && !r.isCaller() {
		late = r.await(patience)
	}
	if again {
		return late
	}
	return errors.Join(late, nfqueue.Con.Close())
}

// SetOption sets an option of the socket.
func (nfqueue *Nfqueue) SetOption(o netlink.ConnOption, enable bool) error {
	return nfqueue.Con.SetOption(o, enable)
}

// Register is RegisterWithErrorFunc that ends at the first error which is more than a
// time-out, and tells the Logger of it.
//
// Deprecated: use RegisterWithErrorFunc.
func (nfqueue *Nfqueue) Register(ctx context.Context, fn HookFunc) error {
	return nfqueue.RegisterWithErrorFunc(ctx, fn, func(err error) int {
		if op, ok := err.(*netlink.OpError); ok && (op.Timeout() || op.Temporary()) {
			return 0
		}
		nfqueue.log.Errorf("queue %d: %v", nfqueue.cfg.NfQueue, err)
		return 1
	})
}

// RegisterWithErrorFunc binds the queue, and has fn called for its packets until ctx ends,
// fn or errfn returns anything but 0, or Close is called. The queue is then unbound, and
// the kernel drops what waits in it.
func (nfqueue *Nfqueue) RegisterWithErrorFunc(ctx context.Context, fn HookFunc, errfn ErrorFunc) error {
	nfqueue.mu.Lock()
	defer nfqueue.mu.Unlock()
	switch {
	case nfqueue.closed:
		return &netlink.OpError{Op: "send", Err: os.ErrClosed}
	case nfqueue.current.Load() != nil:
		return fmt.Errorf("could not bind to requested queue %d: %w", nfqueue.cfg.NfQueue,
			netlinkError("receive", fmt.Errorf("%w: a hook is registered already", syscall.EBUSY)))
	case nfqueue.cfg.Copymode > NfQnlCopyPacket:
		return &netlink.OpError{Op: "receive", Err: syscall.EINVAL}
	}
	conn, err := nfqueue.bind()
	if err != nil {
		return err
	}
	r := newRegistration(ctx, nfqueue, conn, fn, errfn)
	nfqueue.sock.register(true)
	if nfqueue.cfg.Copymode == NfQnlCopyNone {
		const params = 2 // NFQA_CFG_PARAMS: be32 copy_range, u8 copy_mode
		if err := nfqueue.sock.configure(nfqueue.cfg.NfQueue, []netlink.Attribute{{Type: params, Data: make([]byte, 5)}}); err != nil {
			nfqueue.log.Errorf("queue %d: %v", nfqueue.cfg.NfQueue, err)
		}
	}
	nfqueue.current.Store(r)
	go r.serve()
	return nil
}

// bind binds the queue to the socket.
func (nfqueue *Nfqueue) bind() (*ipq.Conn, error) {
	const largestRange, largestQueue = 65531, 65536
	c := &nfqueue.cfg
	f, err := nfqueue.sock.file()
	if err != nil {
		return nil, &netlink.OpError{Op: "send", Err: err}
	}
	defer f.Close()
	cfg := ipq.Config{
		Queue:       c.NfQueue,
		SnapLen:     int(min(c.MaxPacketLen, largestRange)),
		MaxQueueLen: int(min(c.MaxQueueLen, largestQueue)),
		ReadBuffer:  2 * nfqueue.sock.readBufferSet(), // as the kernel counts it
		FailOpen:    c.Flags&NfQaCfgFlagFailOpen != 0,
		Conntrack:   c.Flags&NfQaCfgFlagConntrack != 0,
		GSO:         c.Flags&NfQaCfgFlagGSO != 0,
		UIDGID:      c.Flags&NfQaCfgFlagUIDGid != 0,
		SecCtx:      c.Flags&NfQaCfgFlagSecCx != 0,
		BatchSize:   ipq.DefaultPoolBatch,
		GatherFor:   gatherFor,
	}
	if c.Copymode != NfQnlCopyPacket {
		cfg.Copy = ipq.CopyMeta
	}
	conn, err := ipq.DialFile(cfg, f)
	if err != nil {
		return nil, nfqueue.refused(err)
	}
	return conn, nil
}

// refused says of an error of DialFile what go-nfqueue says, and behind that what goipq
// does.
func (nfqueue *Nfqueue) refused(err error) error {
	op := netlinkError("receive", err)
	switch {
	case errors.As(err, new(*ipq.CapabilityError)):
		return fmt.Errorf("could not unbind existing handlers (if any): %w", op)
	case errors.As(err, new(*ipq.FeatureError)):
		return op
	case errors.As(err, new(*ipq.TakenError)): // EPERM is the kernel's answer to a second socket
		op = &netlink.OpError{Op: "receive", Err: &reason{syscall.EPERM, err}}
	}
	return fmt.Errorf("could not bind to requested queue %d: %w", nfqueue.cfg.NfQueue, op)
}

// running returns what verdicts are for.
func (nfqueue *Nfqueue) running() (*registration, error) {
	if r := nfqueue.current.Load(); r != nil {
		return r, nil
	}
	nfqueue.mu.Lock()
	defer nfqueue.mu.Unlock()
	if nfqueue.closed {
		return nil, &netlink.OpError{Op: "send", Err: os.ErrClosed}
	}
	return nil, &netlink.OpError{Op: "send", Err: errNotRegistered}
}

var errNotRegistered = errors.New("no hook is registered, so the queue is not bound")

// A reason is an errno with what goipq says of it.
type reason struct {
	syscall.Errno
	err error
}

// Error implements error.
func (r *reason) Error() string { return fmt.Sprintf("%v: %v", r.Errno, r.err) }

// Unwrap returns both.
func (r *reason) Unwrap() []error { return []error{r.Errno, r.err} }

// netlinkError returns err as clients of go-nfqueue know errors.
func netlinkError(op string, err error) error {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		err = &reason{errno, err}
	}
	return &netlink.OpError{Op: op, Err: err}
}
