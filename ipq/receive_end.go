package ipq

import (
	"errors"
	"syscall"
)

// drain decides what was queued before the kernel was told to stop.
func (l *loop) drain(receive func(fd int) received) {
	if l.abandoned.Load() || l.failure.Load() != nil || l.e.detached.Load() {
		return // if the socket does not work, the kernel drops what it holds
	}
	if err := l.sock.SetQueueLen(0); err != nil {
		l.fail(l.sock.fail("drain", err))
		return
	}
	for rounds := 0; rounds <= l.e.cfg.MaxQueueLen; {
		if r := receive(l.sock.FD()); r == empty || r == broken {
			return
		}
		if l.e.overdue.Load() {
			rounds++ // each has a packet, of which there are no more than MaxQueueLen, or fails
		}
	}
	l.fail(l.sock.fail("drain", errEndless))
}

// errEndless ends a run that would not end: by the kernel, which is told to
// queue no more, no more comes.
var errEndless = errors.New("the socket does not run empty: another process that has it lengthens the queue, or the kernel is out of memory")

// abandon ends the run in the place of the loop, whose handler does not return.
func (l *loop) abandon() {
	l.drain(l.receiveUnhandled)
	l.abandoned.Store(true)
	l.sock.Hold() // the handler is running within RawConn.Read
	l.end(true)
}

// end gives the queue up and sends the result of the run.
func (l *loop) end(stuck bool) {
	if l.deferrals.end() || stuck {
		l.fail(l.sock.fail("end", ErrStuck))
	}
	if l.denied != nil {
		l.uncountDenied()
	}
	if !l.e.detached.Load() {
		if err := l.sock.Unbind(); err != nil {
			l.fail(l.sock.fail("unbind", err))
		}
	}
	var err error
	if failure := l.failure.Load(); failure != nil {
		err = *failure
	}
	l.results <- err
}

// gather waits until all batches have come back, and so all handlers. It
// reports false when the time to drain is over before that.
func (l *loop) gather() bool {
	here := 1 // the spare
	if l.free != nil {
		here++
	}
	for ; here < len(l.batches); here++ {
		if _, err := l.ring.Get(l.e.patient); err != nil {
			return false
		}
	}
	return true
}

// uncountDenied takes verdicts out of the counts that were written after the
// capability was lost. The kernel refuses such a write as a whole, and its answer
// names the first message only. It reads the answers that are left; packets that
// are among them are dropped as the queue is unbound.
func (l *loop) uncountDenied() {
	for !l.e.detached.Load() {
		n, errno := l.sock.recv(l.spare.Batch, l.sock.FD())
		if errno != 0 && errno != syscall.ENOBUFS {
			break
		}
		for i := range n {
			if _, kind := l.spare.decode(i); kind == isOther {
				l.control(l.spare.Msg(i))
			}
		}
		l.spare.recycle()
	}
	for _, w := range l.writers {
		w.uncount(l.denied)
	}
	l.deferrals.uncount(l.denied)
}
