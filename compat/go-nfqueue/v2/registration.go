package nfqueue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/ipq"
)

// gatherFor is how long a verdict may wait for others, if a hook does not return: verdicts
// leave when hooks pause.
const gatherFor = time.Millisecond

// A registration is a hook that is registered, and what calls it. Its hooks run on one
// goroutine.
type registration struct {
	n      *Nfqueue
	conn   *ipq.Conn
	hook   HookFunc
	failed ErrorFunc

	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{} // closed when no hook is running, and none will be

	// busy says that packets are with their hooks, behind which verdicts leave. It is held
	// while they are.
	busy      atomic.Bool
	hooks     sync.Mutex
	flush     chan struct{} // asks for verdicts to leave
	goroutine atomic.Pointer[[]byte]

	lengths lengths
}

func newRegistration(ctx context.Context, n *Nfqueue, conn *ipq.Conn, hook HookFunc, failed ErrorFunc) *registration {
	r := &registration{n: n, conn: conn, hook: hook, failed: failed}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.ended, r.flush = make(chan struct{}), make(chan struct{}, 1)
	return r
}

// serve receives packets until the registration ends.
func (r *registration) serve() {
	defer r.end()
	id := goroutineID()
	r.goroutine.Store(&id)
	go r.write()
	defer context.AfterFunc(r.ctx, func() {
		r.hooks.Lock() // so that the verdict of the hook that is running leaves
		defer r.hooks.Unlock()
		r.close()
	})()
	r.receive()
}

// end unbinds the queue, and leaves the socket as it was before.
func (r *registration) end() {
	r.cancel()
	r.close()
	const command, unbind = 1, 2 // NFQA_CFG_CMD, NFQNL_CFG_CMD_UNBIND
	queue := r.n.cfg.NfQueue
	if err := r.n.sock.configure(queue, []netlink.Attribute{{Type: command, Data: []byte{unbind, 0, 0, 0}}}); err == nil {
		r.n.sock.drain()
	} // otherwise the socket is closed, which unbinds, too
	r.n.sock.register(false)
	r.n.current.Store(nil)
	close(r.ended)
}

func (r *registration) close() {
	if err := r.conn.Close(); err != nil {
		r.n.log.Errorf("%v", err)
	}
}

// receive has the hook called for packets.
func (r *registration) receive() {
	var m maker
	r.begin()
	defer r.hooks.Unlock()
	for r.ctx.Err() == nil {
		p, err := r.conn.Read(-1)
		if err == ipq.ErrTimeout {
			m.pause()
			p, err = r.wait()
		}
		switch {
		case r.ctx.Err() != nil:
			return
		case err == nil:
			r.lengths.note(p)
			if r.hook(m.attribute(p)) != 0 {
				return
			}
		case p != nil:
			r.pass(p, err)
		case !r.tell(err):
			return
		}
	}
}

// begin notes that packets go to their hooks.
func (r *registration) begin() {
	r.hooks.Lock()
	r.busy.Store(true)
}

// wait has verdicts leave, and waits for a packet.
func (r *registration) wait() (*ipq.Packet, error) {
	r.busy.Store(false) // who gives a verdict from now on has it leave
	err := r.conn.Flush()
	r.hooks.Unlock()
	defer r.begin()
	if err != nil {
		return nil, err
	}
	return r.conn.Read(0)
}

// pass decides a packet that no Attribute can be made of.
func (r *registration) pass(p *ipq.Packet, err error) {
	verdict := ipq.Drop
	if r.n.cfg.Flags&NfQaCfgFlagFailOpen != 0 {
		verdict = ipq.Accept
	}
	r.n.log.Errorf("packet %d: %v: %v", p.ID(), verdict, err)
	if err := r.conn.SetVerdict(p.ID(), verdict, nil); err != nil {
		r.n.log.Errorf("packet %d: %v", p.ID(), err)
	}
}

// tell tells of an error, and reports whether to go on.
func (r *registration) tell(err error) bool {
	var refused *ipq.VerdictError
	switch {
	case errors.Is(err, ipq.ErrClosed):
		return false
	case errors.As(err, &refused) && refused.Errno == syscall.ENOENT:
		r.n.log.Debugf("%v", err)
		return true
	}
	return r.failed(netlinkError("receive", err)) == 0
}

// given is the end of a call that gives a verdict.
func (r *registration) given(err error) error {
	if err != nil {
		return netlinkError("send", err)
	}
	if !r.busy.Load() {
		select {
		case r.flush <- struct{}{}:
		default: // it was asked for already
		}
	}
	return nil
}

// write has verdicts leave that are given while no hook is running.
func (r *registration) write() {
	for {
		select {
		case <-r.flush:
			if err := r.conn.Flush(); err != nil && !errors.Is(err, ipq.ErrClosed) {
				r.n.log.Errorf("%v", err)
			}
		case <-r.ended:
			return
		}
	}
}

// await waits for the end.
func (r *registration) await(most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-r.ended:
		return nil
	case <-timer.C:
		return fmt.Errorf("queue %d: a hook has not returned within %v of Close", r.n.cfg.NfQueue, most)
	}
}

// isCaller reports whether a hook of r is what calls.
func (r *registration) isCaller() bool {
	id := r.goroutine.Load()
	return id != nil && bytes.Equal(*id, goroutineID())
}

// goroutineID returns what tells the calling goroutine from others: the beginning of its
// stack trace, "goroutine 7 ".
func goroutineID() []byte {
	b := make([]byte, 64)
	b = b[:runtime.Stack(b, false)]
	first, rest, _ := bytes.Cut(b, []byte(" "))
	number, _, _ := bytes.Cut(rest, []byte(" "))
	return append(append(first, ' '), number...)
}
