package ipq

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/nfsock"
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
	var fd int
	var err error
	if cerr := s.Raw().Control(func(sock uintptr) {
		fd, err = unix.FcntlInt(sock, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		return nil, s.fail("file", ErrClosed)
	}
	if err != nil {
		return nil, s.fail("file", os.NewSyscallError("fcntl", err))
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("queue %d", s.Queue())), nil
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
	return openQueue(cfg, func(cfg *Config, queue uint16) (*socket, error) {
		s, err := nfsock.Adopt(cfg.options(queue), files[queue-cfg.Queue])
		if err != nil {
			return nil, opError("adopt", queue, err)
		}
		return newSocket(s), nil
	})
}
