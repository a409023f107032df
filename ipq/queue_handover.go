package ipq

import (
	"errors"
	"fmt"
	"os"

	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/zerocopy"
)

// File returns a duplicate of the socket of the queue with number
// [Config.Queue] + i, for handing it to another process, which makes a Queue of
// it with [FromFile]. It is the caller's to close.
//
// The kernel knows the listener of a queue by its socket, not by its process,
// so that a program can be replaced by its next version without a packet being
// lost, in this order:
//
//  1. the old process starts the new one and passes the files, such as by
//     [os/exec.Cmd.ExtraFiles];
//  2. the new one calls FromFile, and says that it is ready;
//  3. the old one calls [Queue.Detach], which returns when everything that it
//     has received is decided, and says so;
//  4. the new one calls [Queue.Run].
//
// Between 3 and 4 packets wait in the kernel, up to [Config.MaxQueueLen]. The new
// process may also run its queue before 3. Each packet is then received, and
// decided, by one of the two, but packets of a flow can overtake each other.
//
// A process that is killed leaves what it had received undecided: the kernel
// drops it only when the last descriptor of the socket is closed, or the queue
// is unbound. A successor decides it with [Queue.Inherit].
//
// From the first call of File on, and with FromFile always, the verdicts on runs
// of packets that [Inline] has otherwise are given one by one: the kernel's
// verdict on a run (NFQNL_MSG_VERDICT_BATCH) decides all packets up to its last,
// and so those that another process has received. It costs what it costs while
// packets are deferred, see [Packet.Defer], and lasts as long as the Queue does,
// because nothing tells when the other process is gone. That others got the
// descriptor in some other way, such as by pidfd_getfd(2), a Queue cannot know:
// use File.
func (q *Queue) File(i int) (*os.File, error) {
	if i < 0 || i >= len(q.loops) {
		return nil, fmt.Errorf("ipq: File(%d): there are %d queues: %w", i, len(q.loops), os.ErrInvalid)
	}
	q.loops[i].runs.share()
	s := q.loops[i].sock
	f, err := s.File()
	if err != nil {
		return nil, s.fail("file", err)
	}
	return f, nil
}

// FromFile makes a Queue of sockets that are bound already, those of another
// process, one for each of [Config.Queues]; see [Queue.File]. The files are
// duplicated, and are the caller's to close. cfg is that of [Open], whose
// errors it returns too; it takes effect on packets that come from now on. The
// network namespace is that of the sockets, wherever the process is:
// [Config.NetNS] may be 0, and must not be another. A socket that does not listen
// on its queue is an error that matches [ErrUnbound], or a [TakenError].
func FromFile(cfg Config, files ...*os.File) (*Queue, error) {
	release, err := cfg.holdNetNS()
	if err != nil {
		return nil, err
	}
	defer release()
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(files) != cfg.Queues {
		return nil, fmt.Errorf("%w: %d files for %d queues: %w", ErrConfig, len(files), cfg.Queues, os.ErrInvalid)
	}
	q, err := openQueue(cfg, adopt(files))
	if err != nil {
		return nil, err
	}
	q.openRejecter()
	return q, nil
}

// adopt returns what makes sockets of files, the first of which is that of Config.Queue.
func adopt(files []*os.File) dialFunc {
	return func(cfg *Config, queue uint16) (*socket, error) {
		s, err := nfsock.Adopt(cfg.options(queue), files[queue-cfg.Queue])
		if err != nil {
			return nil, opError("adopt", queue, err)
		}
		return newSocket(s), nil
	}
}

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
	if !nfsock.HandsOver {
		return q.loops[0].sock.fail("inherit", errors.ErrUnsupported)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.tooLate("inherit", opened); err != nil {
		return err
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
		n, errno := nfsock.Recv(fd, buf[:], true)
		if errno != 0 {
			if r := l.recvError(errno); r != more {
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
		if n, errno = nfsock.Recv(fd, buf[:], false); errno == 0 {
			l.control(buf[:n])
		}
	}
	return 0, broken
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
