package ipq

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/zerocopy"
)

// Inherit says that the other processes that have had the sockets are gone, or
// have ended with [Queue.Detach], and so will decide nothing any more. [Queue.Run]
// then begins with the packets that they had received and not decided: it drops
// them or, with [Config.FailOpen], accepts them. They would wait for ever
// otherwise, and count in [Config.MaxQueueLen]. [Stats.Orphans] counts them.
//
// Which packets these are follows from the order in which the socket gives them
// out: all before the first that is still in it. If there is none, the kernel's
// table of queues tells; who may not read it, see [Stats], has them decided as the
// next packet comes.
//
// Inherit is for a process whose predecessor was killed. Nothing tells whether one
// that shares a socket is alive, so it is for the caller to know, for example as
// the parent of both. Of a process that is not gone, it decides the packets. It
// is called before Run, and returns [ErrRunning] or [ErrClosed] if it is too late
// for that. When the other is killed while this one is running already, a new
// Queue can inherit: take [Queue.File], Detach, and call [FromFile].
func (q *Queue) Inherit() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed || q.state == ran:
		return q.loops[0].sock.fail("inherit", ErrClosed)
	case q.state == serving:
		return q.loops[0].sock.fail("inherit", ErrRunning)
	}
	q.inherits = true
	return nil
}

// inherit decides, before the loop receives anything, what others have received.
func (l *loop) inherit() {
	s := l.sock
	table, known := s.Snapshot()
	// Configuring takes the lock under which the kernel gives a packet its id and
	// puts it into the socket. So what is in the table is in the socket by now, or
	// has been.
	if err := s.SetQueueLen(l.e.cfg.MaxQueueLen); err != nil {
		l.fail(s.fail("configure", err))
		return
	}
	var last uint32 // of the ids that are not for this loop
	found := false
	err := s.Raw().Read(func(fd uintptr) (done bool) {
		id, r := l.peek(int(fd))
		switch {
		case r == some:
			last, found = id-1, true
		case r == empty && known:
			last, found = uint32(table.Sequence), true
		}
		return found || r == broken
	})
	switch {
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		l.fail(s.fail("receive", err))
	case found:
		l.decideUpTo(last)
	}
}

// peek returns the id of the first packet in the socket, which stays there. It
// takes out what is before it.
func (l *loop) peek(fd int) (id uint32, r received) {
	var buf [256]byte // the id is at the beginning
	var m zerocopy.Message
	for !l.stopping.Load() {
		n, _, err := unix.Recvfrom(fd, buf[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err != nil {
			if r := l.recvError(errnoOf(err)); r != more {
				return 0, r
			}
			continue
		}
		switch err := m.Decode(buf[:n]); {
		case !errors.Is(err, zerocopy.ErrType) && m.HasID():
			return m.ID(), some
		case !errors.Is(err, zerocopy.ErrType):
			return 0, broken // which no kernel sends; the loop will count it
		}
		if n, _, err = unix.Recvfrom(fd, buf[:], unix.MSG_DONTWAIT); err == nil {
			l.control(buf[:n])
		}
	}
	return 0, broken
}

// errnoOf returns the errno of a system call.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}

// decideUpTo decides all packets up to an id, none of which is the loop's, and
// counts them.
func (l *loop) decideUpTo(last uint32) {
	s := l.sock
	var b [zerocopy.VerdictLen]byte
	putUpTo(b[:], s.Queue(), last, l.e.cfg.plain())
	zerocopy.SetEcho(b[:], inheritance)
	l.again.Reset()
	l.again.Add(b[:])

	before, known := s.Snapshot()
	if err := s.write(l.again, l.count); err != nil {
		l.fail(err)
		return
	}
	after, still := s.Snapshot()
	if !known || !still {
		return
	}
	n := int64(before.Waiting) - int64(after.Waiting)
	if !l.e.cfg.FailOpen { // with which ids are used up that nothing counts
		n += int64(uint32(after.Sequence-before.Sequence)) - int64(uint32(after.SocketDropped-before.SocketDropped))
	}
	l.count.add(countOrphans, uint64(max(0, n)))
}
