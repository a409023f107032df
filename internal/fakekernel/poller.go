package fakekernel

import (
	"os"
	"sync"
	"syscall"
	"time"
)

// noDescriptor is what the callers of a poller get for a descriptor.
const noDescriptor = ^uintptr(0)

// A poller has goroutines wait for what is no file, as the runtime's has them wait for
// a socket: who is woken looks again, also if that was before it began to wait.
type poller struct {
	mu       sync.Mutex
	changed  sync.Cond
	wakeups  uint64 // how often wake was called
	deadline time.Time
	timer    *time.Timer // for the deadline; nil: there was none yet
	closed   bool
}

func newPoller() *poller {
	p := new(poller)
	p.changed.L = &p.mu
	return p
}

// wake has whoever waits, or has looked and will wait, look again.
func (p *poller) wake() {
	p.mu.Lock()
	p.wakeups++
	p.mu.Unlock()
	p.changed.Broadcast()
}

// Read implements syscall.RawConn.
func (p *poller) Read(f func(fd uintptr) (done bool)) error {
	for {
		seen, err := p.state()
		if err != nil {
			return err
		}
		if f(noDescriptor) {
			return nil
		}
		p.mu.Lock()
		for p.wakeups == seen {
			p.changed.Wait()
		}
		p.mu.Unlock()
	}
}

// Write implements syscall.RawConn. There is always room.
func (p *poller) Write(f func(fd uintptr) (done bool)) error {
	return p.Control(func(fd uintptr) { f(fd) })
}

// Control implements syscall.RawConn.
func (p *poller) Control(f func(fd uintptr)) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return os.ErrClosed
	}
	f(noDescriptor)
	return nil
}

// state returns the number of wake-ups, and why a Read is not to wait.
func (p *poller) state() (wakeups uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		err = os.ErrClosed
	case !p.deadline.IsZero() && !time.Now().Before(p.deadline):
		err = os.ErrDeadlineExceeded
	}
	return p.wakeups, err
}

// setDeadline sets the time after which a Read does not wait; the zero time is none.
func (p *poller) setDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return os.ErrClosed
	}
	p.deadline = t
	if p.timer != nil {
		p.timer.Stop()
	}
	if !t.IsZero() {
		p.timer = time.AfterFunc(time.Until(t), p.wake)
	}
	return nil
}

// close has every Read end, and reports false if it was called before.
func (p *poller) close() (first bool) {
	p.mu.Lock()
	first, p.closed = !p.closed, true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	p.wake()
	return first
}

var _ syscall.RawConn = (*poller)(nil)
