package ipq

import (
	"errors"
	"syscall"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
)

// secondTry stands in nlmsg_pid, which the kernel ignores and sends back, of a
// verdict that takes the place of a refused one: it is not replaced again.
const secondTry = 1

// inheritance stands there in the verdict of loop.inherit.
const inheritance = 2

// control takes a message that is not a packet. Those about verdicts are
// counted, and end nothing unless no verdict can be given any more.
func (l *loop) control(msg []byte) {
	e, err := zerocopy.DecodeError(msg)
	errno := syscall.Errno(e.Errno)
	switch {
	case err != nil || errno == 0:
		l.count.inc(countOther) // an acknowledgement, at most, that nobody asked for
	case e.Type == zerocopy.TypeConfig:
		l.fail(l.sock.fail("configure", l.sock.refused(errno)))
	case errno == syscall.ENOENT:
		// Decided before: flushed, as a device or a chain went away. There
		// come as many of these as packets were in flight, and no more.
		if e.PortID != inheritance { // which there need not be
			l.count.inc(countUnknown)
		}
	case errno == syscall.ENODEV:
		l.count.inc(countRefused)
		l.fail(l.sock.fail("verdict", ErrUnbound))
	case errno == syscall.EPERM:
		l.count.inc(countRefused)
		err := l.sock.fail("verdict", l.sock.refused(errno))
		if errors.As(err, new(*CapabilityError)) {
			if l.denied == nil {
				l.denied = map[uint32]struct{}{}
			}
			l.denied[e.Seq] = struct{}{}
		}
		l.fail(err)
	default:
		l.count.inc(countRefused)
		if e.PortID != secondTry && (e.Type == zerocopy.TypeVerdict || e.Type == zerocopy.TypeVerdictBatch) {
			l.decideAgain(e)
		}
	}
}

// decideAgain gives the plainest verdict on a packet, or a run of them, that
// still waits because the kernel has refused another.
func (l *loop) decideAgain(e zerocopy.Error) {
	var b [zerocopy.VerdictLen]byte
	v := l.e.cfg.plain()
	if v == Drop {
		l.count.inc(countDroppedRefused)
	} else {
		l.count.inc(countPassedRefused)
	}
	putInPlace(b[:], l.sock.Queue(), e, v)
	zerocopy.SetEcho(b[:], secondTry)
	l.again.Reset()
	l.again.Add(b[:])
	l.failed(l.sock.write(l.again, l.count))
}

// recvError says how to go on after a failed receive call.
func (l *loop) recvError(errno syscall.Errno) received {
	switch errno {
	case syscall.EAGAIN:
		return empty
	case syscall.ENOBUFS:
		// The socket overflowed, and says so once. The packets that did not
		// fit are in SocketDropped; those that did are to be read.
		l.count.inc(countOverruns)
		return more
	case syscall.ENOMEM:
		l.count.inc(countReadRetries)
		l.rest()
		return more
	}
	l.fail(l.sock.fail("receive", errno))
	return broken
}

// rest pauses until the kernel may have memory again, or the loop is stopped.
func (l *loop) rest() {
	timer := time.NewTimer(maxPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.e.patient.Done():
	}
}

// receiveUnhandled reads one batch into the spare and decides it without the
// handler: excess by the policy for it, and what comes when handlers do not
// return by Config.OnTimeout.
func (l *loop) receiveUnhandled(fd int) received {
	by := l.e.lateness()
	if by == byEnd {
		l.to.decided() // so that nothing is overtaken
	} else if l.e.cfg.Overload != Wait {
		by = byOverload
	}
	n, errno := l.sock.recv(l.spare.Batch, fd)
	if errno != 0 {
		return l.recvError(errno)
	}
	l.sizes.add(n)
	l.stamp(l.spare)
	w := l.unhandled
	w.begin(l.spare.Verdicts(), l.spare.received)
	packets := uint64(0)
	for i := range n {
		p := l.packet(l.spare, i)
		if p == nil {
			continue
		}
		packets++
		if l.e.own(p) {
			l.failed(w.addUnhandled(p, byOwn))
			continue
		}
		if by == byOverload && l.e.cfg.Overload == AcceptExcess && !p.broken && l.to.overtakes(p) {
			l.count.inc(countOvertook)
		}
		l.failed(w.addUnhandled(p, by))
	}
	l.count.add(countReceived, packets)
	l.failed(w.flush())
	l.spare.recycle()
	if n < l.spare.Slots() {
		return some
	}
	return more
}

// stop makes serve end, from any goroutine.
func (l *loop) stop() {
	l.stopping.Store(true)
	_ = l.sock.Wake() // fails only on a closed socket, which wakes as well
}

// fail records a fatal error and ends the whole run.
func (l *loop) fail(err error) {
	l.failure.CompareAndSwap(nil, &err)
	l.e.stop()
}

// failed is fail for what may be no error.
func (l *loop) failed(err error) {
	if err != nil {
		l.fail(err)
	}
}

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
