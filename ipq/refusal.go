package ipq

import (
	"errors"
	"syscall"

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
		l.count.other.Add(1) // an acknowledgement, at most, that nobody asked for
	case e.Type == zerocopy.TypeConfig:
		l.fail(l.sock.fail("configure", l.sock.Refused(errno)))
	case errno == syscall.ENOENT:
		// Decided before: flushed, as a device or a chain went away. There
		// come as many of these as packets were in flight, and no more.
		if e.PortID != inheritance { // which there need not be
			l.count.unknown.Add(1)
		}
	case errno == syscall.ENODEV:
		l.count.refused.Add(1)
		l.fail(l.sock.fail("verdict", ErrUnbound))
	case errno == syscall.EPERM:
		l.count.refused.Add(1)
		err := l.sock.fail("verdict", l.sock.Refused(errno))
		if errors.As(err, new(*CapabilityError)) {
			if l.denied == nil {
				l.denied = map[uint32]struct{}{}
			}
			l.denied[e.Seq] = struct{}{}
		}
		l.fail(err)
	default:
		l.count.refused.Add(1)
		if e.PortID != secondTry && (e.Type == zerocopy.TypeVerdict || e.Type == zerocopy.TypeVerdictBatch) {
			l.decideAgain(e)
		}
	}
}

// uncountDenied takes verdicts out of the counts that were written after the
// capability was lost. The kernel refuses such a write as a whole, and its answer
// names the first message only. It reads the answers that are left; packets that
// are among them are dropped as the queue is unbound.
func (l *loop) uncountDenied() {
	for !l.q.detached.Load() {
		n, errno := l.sock.recv(l.reserve.Batch, l.sock.FD())
		if errno != 0 && errno != syscall.ENOBUFS {
			break
		}
		for i := range n {
			if _, kind := l.reserve.decode(i); kind == isOther {
				l.control(l.reserve.Msg(i))
			}
		}
		l.reserve.recycle()
	}
	for _, w := range l.writers {
		w.refuse(l.denied)
	}
	l.deferrals.refuse(l.denied)
}

// decideAgain gives the plainest verdict on a packet, or a run of them, that
// still waits because the kernel has refused another.
func (l *loop) decideAgain(e zerocopy.Error) {
	var b [zerocopy.VerdictLen]byte
	put := zerocopy.PutVerdict
	if e.Type == zerocopy.TypeVerdictBatch {
		put = zerocopy.PutVerdictBatch // what was before this run had been decided
	}
	put(b[:], l.sock.Queue(), e.Seq, l.q.cfg.onUndecodable().kernel())
	zerocopy.SetEcho(b[:], secondTry)
	l.again.Reset()
	l.again.Add(b[:])
	if err := l.sock.write(l.again, &l.count.retries); err != nil {
		l.fail(err)
	}
}
