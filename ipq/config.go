package ipq

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/zerocopy"
)

// Inline as [Config.Workers] runs handlers in the receive loop itself, without
// a pool.
const Inline = -1

// CopyMode says how much of a packet the kernel copies to user space.
type CopyMode uint8

const (
	// CopyPacket copies the attributes and the packet, up to
	// [Config.SnapLen]. It is the default.
	CopyPacket CopyMode = iota
	// CopyMeta copies the attributes only. Packets then have no payload, no
	// length and no flow: with a pool, all of them go to one worker, because
	// their order could not be kept otherwise.
	CopyMeta
)

// Overload says what becomes of packets that come while the pool is saturated:
// when all of a queue's batches are in flight, [Config.Batches] times
// [Config.BatchSize] packets.
type Overload uint8

const (
	// Wait receives no more until a batch is free. The kernel's queue fills,
	// and then the kernel drops packets, or accepts them with
	// [Config.FailOpen]. It is the default, and the only one under which the
	// packets of a flow always keep their order.
	Wait Overload = iota
	// AcceptExcess accepts them in the receive loop, without the handler. A
	// packet accepted so overtakes those of its flow that still wait in the
	// pool: see [Stats.Overtook].
	AcceptExcess
	// DropExcess drops them in the receive loop, without the handler.
	DropExcess
)

// String returns for example "wait".
func (o Overload) String() string {
	switch o {
	case Wait:
		return "wait"
	case AcceptExcess:
		return "accept excess"
	case DropExcess:
		return "drop excess"
	}
	return fmt.Sprintf("overload policy %d", uint8(o))
}

// kernel returns the mode as NFQA_CFG_PARAMS has it.
func (m CopyMode) kernel() uint8 {
	if m == CopyMeta {
		return zerocopy.CopyMeta
	}
	return zerocopy.CopyPacket
}

// Defaults that the zero Config stands for.
const (
	// DefaultMaxQueueLen is the kernel's own (NFQNL_QMAX_DEFAULT).
	DefaultMaxQueueLen = 1024
	// DefaultInlineBatch and DefaultPoolBatch are the most packets for each
	// recvmmsg(2): few enough that a packet is re-injected while the cache
	// still has it, enough to share the cost of the calls and, with a pool, of
	// handing them over.
	DefaultInlineBatch = 32
	DefaultPoolBatch   = 64
	// DefaultRejectRate is enough for the users of a network, and too little to flood
	// anybody.
	DefaultRejectRate = 1000
	// DefaultDeferTimeout is about what TCP waits before it sends again.
	DefaultDeferTimeout = time.Second
	// DefaultDrainTimeout leaves handlers that are merely slow the time that
	// service managers leave programs before they kill them.
	DefaultDrainTimeout = 5 * time.Second
)

// NoTimeout as [Config.DeferTimeout] sets no limit.
const NoTimeout time.Duration = 1<<63 - 1

// Config configures a [Queue] or a [Conn]. The zero value is useful: queue 0,
// whole packets, a pool of GOMAXPROCS workers, fail closed.
//
// The fields from Queue to SecCtx are about the socket, those from Workers to Logger
// about the engine, and those from FailOpen on about failure: what becomes of packets
// that no handler decides, or not in time.
type Config struct {
	// The socket: what the kernel queues, and what it tells of it.

	// Queue is the number of the (first) queue. The old "-j QUEUE" target is
	// queue 0.
	Queue uint16
	// Queues is how many consecutive queues to serve, each with its own
	// socket and receive loop; 0 means 1. Spread packets over them with the
	// rule's queue range, best with its fan-out by CPU: otherwise the kernel
	// chooses by a hash of addresses and protocol, without ports.
	Queues int
	// NetNS is a descriptor of the network namespace to work in, such as that
	// of an open /proc/PID/ns/net; 0 means the caller's. What is not open, or is
	// something else, is an error. It is duplicated at once, and not needed any
	// more when Open has returned; until it is called somebody must keep the
	// file open, for which the number alone does nothing:
	//
	//	q, err := ipq.Open(ipq.Config{NetNS: int(f.Fd())})
	//	runtime.KeepAlive(f) // or f.Close(), which is due anyway
	NetNS int
	// Copy is [CopyPacket] or [CopyMeta].
	Copy CopyMode
	// SnapLen is how many bytes of a packet to copy, from the network header
	// on; 0 means all, which is at most 65531. Small ones save time with
	// large packets only.
	SnapLen int
	// MaxQueueLen is how many packets the kernel may hold for each queue, from
	// those it has just queued to those that wait for their verdict. Beyond it
	// the kernel drops, or accepts with FailOpen. 0 means DefaultMaxQueueLen; the
	// most is 65536, which current kernels can hold. Shorter queues are
	// somewhat faster and add less delay under overload.
	MaxQueueLen int
	// ReadBuffer is the size of each socket's receive buffer in bytes, as the
	// kernel counts it (SO_RCVBUF after doubling): 832 or 896 bytes for the
	// smallest packet, 2304 for one of 1500. A full buffer loses packets, or accepts
	// them with FailOpen. 0 sizes it so that MaxQueueLen packets fit. Without
	// CAP_NET_ADMIN in the initial user namespace net.core.rmem_max limits it;
	// [Stats] has what was granted. It takes packets to be full frames of 1500
	// bytes, or of SnapLen with GSO: raise it for larger frames.
	ReadBuffer int
	// GSO delivers super-packets as they are instead of cutting them into
	// segments (NFQA_CFG_F_GSO, Linux 3.10): several times faster for TCP.
	// Payloads of TCP super-packets can be edited if their length stays, those of
	// others cannot ([ErrGSO]). Checksums that senders leave to the network device
	// are then not filled in yet, also in packets that are none: an edit finishes
	// that of TCP, UDP and SCTP directly in IP, and is refused where it is that of
	// a packet inside of a tunnel ([ErrChecksumPending]).
	GSO bool
	// Conntrack adds connection tracking attributes (NFQA_CFG_F_CONNTRACK,
	// Linux 3.6, with nf_conntrack_netlink).
	Conntrack bool
	// UIDGID adds the owner of the sending socket (NFQA_CFG_F_UID_GID, Linux
	// 3.14).
	UIDGID bool
	// SecCtx adds the sending socket's security context
	// (NFQA_CFG_F_SECCTX, Linux 4.3).
	SecCtx bool

	// The engine: who handles packets, and how verdicts leave.

	// Workers is the number of goroutines that run handlers; 0 means
	// GOMAXPROCS, and Inline that the receive loops do, without a pool: the
	// fastest per core, when no handler blocks.
	Workers int
	// BatchSize is the most packets for one recvmmsg(2), up to 1024; 0 means
	// DefaultInlineBatch or DefaultPoolBatch. Up to 64 the calls do not tell
	// the Go scheduler, and so bound the wait of a garbage collection for the
	// receive loop to some 200 µs.
	BatchSize int
	// Batches is how many batches of buffers each receive loop has, its bound
	// on packets in flight in user space: Batches times BatchSize. 0 means 1
	// for Inline, otherwise 2 for each worker and at least 8.
	//
	// A batch reserves 68 KiB of address space for each packet; memory is used
	// only as far as packets reach, two pages for a frame of 1500 bytes. Open
	// refuses a Config whose buffers, for each of Queues, could not be filled
	// with such frames: memory is the machine's (MemTotal), or less if its
	// control group or RLIMIT_AS allows less. Larger packets, as with GSO, take
	// more, up to all of the address space.
	Batches int
	// FlushAfter is how long a verdict may wait for the others that leave in the
	// same write: those of its batch, or of the share of it that its worker has.
	// It is looked at after each handler's return. 0 means until the last of them.
	FlushAfter time.Duration
	// GatherFor is how long a verdict that is given to a [Conn] by itself may wait for
	// others that leave in the same write: BatchSize of them at the most. The call then
	// returns before the verdict has left; [Conn.Flush] has all leave at once, and the error
	// of a write is that of a later call. 0 means that a verdict has left when the call
	// returns, together with those that others give meanwhile. Timers of less than a
	// millisecond may be late by one while the program has nothing else to do.
	GatherFor time.Duration
	// BusyPoll is how long a receive loop that found nothing goes on looking
	// before it parks. It saves the wake-up at the price of a busy CPU.
	BusyPoll time.Duration
	// PinCPU pins each receive loop to a CPU of its own, out of those that
	// the process may use when Open is called. The loop then has a thread of
	// its own, too. If other threads keep that CPU busy while packets come more
	// often than every 50 µs, the loop lets them run for a time slice, some
	// milliseconds at most, and receives full batches.
	PinCPU bool
	// KeepChecksums leaves lengths and checksums in edited payloads as the
	// handler wrote them. With GSO that includes those that are not filled in
	// yet, see [Packet.ChecksumReady]: nobody fills them in after an edit.
	KeepChecksums bool
	// DeferTimeout is how long a verdict may be put off by [Packet.Defer]; 0
	// means DefaultDeferTimeout, and [NoTimeout] until Run ends.
	DeferTimeout time.Duration
	// MaxDeferred is how many packets of each queue may be deferred at a time.
	// They count in MaxQueueLen. 0 means half of MaxQueueLen. There are as many
	// copies, and one more for each call of [Deferred.Verdict] that is writing;
	// they are allocated as they are needed, and must fit into memory, see
	// Batches, as frames of 1500 bytes.
	MaxDeferred int
	// RejectRate is how many packets a second [Reject] and [RejectBoth] tell of, over all
	// Queues, and how many at once after a second without any. More are dropped without a
	// word. 0 means DefaultRejectRate; the most is a million.
	RejectRate int
	// OwnMark is the packet mark of this product's own traffic: that of the connections of
	// [Dialer], and of the answers of [Reject]. 0 means none. The rules should pass packets
	// with that mark before they queue any. Those that come all the same are accepted, and
	// their handler is not called: a handler that waits for traffic which waits for a
	// handler stops the host's traffic, or begins more of it for each packet, without end.
	// The first is logged, and [Causes] counts them as Own. With [Inline] a handler that
	// waits for such traffic itself waits in vain, because nothing is received meanwhile. A
	// [Conn] accepts nothing by itself.
	OwnMark uint32
	// Bypass settles the flows of verdicts with [Verdict.Bypass] in the kernel.
	// nil means that such verdicts have no effect on later packets.
	Bypass Bypasser
	// Observe lets every packet pass as it came, whatever is decided about it: to try
	// rules on live traffic. Handlers run, deferred packets wait, time-outs and policies
	// work, and [Stats] counts what would have been done; edits, marks and other verdicts
	// are not sent. No flow is settled, so that handlers also see packets that
	// [Verdict.Bypass] would have spared them. The kernel is told to accept what does not
	// fit into the queue, as with FailOpen. It is for a [Queue]: Dial refuses it.
	Observe bool
	// Histograms measures how long handlers take, and how long packets wait for their
	// verdict: [Queue.Histograms] has both. It costs a reading of the clock for each
	// packet, up to 2 % of a packet's CPU time, and nothing when it is false.
	Histograms bool
	// Logger is told of what deserves attention and has no other way out,
	// such as a handler's panic. nil means nothing is logged.
	Logger *slog.Logger

	// Failure: what becomes of packets that no handler decides, or not in time.

	// FailOpen is the master: it accepts, instead of dropping them, packets that do not
	// fit into the queue or the socket's buffer (NFQA_CFG_F_FAIL_OPEN, Linux 3.6), that
	// cannot be decoded, or whose verdict the kernel refuses or cannot take; and all
	// whose own policy below is left alone. A policy that is set wins. FailOpen does not
	// cover a queue that nobody listens on: that is the rule's bypass flag.
	FailOpen bool
	// BeforeHandler is the verdict on packets that come before there is a handler:
	// [Queue.Run] may be called without one, and [Queue.SetHandler] then brings it.
	BeforeHandler ExceptionPolicy
	// Overload says what becomes of packets that come while the pool is
	// saturated: [Wait] (the zero value), [AcceptExcess] or [DropExcess]. Wait leaves
	// them to the kernel, and so to FailOpen.
	Overload Overload
	// OnPanic is the verdict on a packet whose handler panicked.
	OnPanic ExceptionPolicy
	// HandlerTimeout is how long a handler may take for a packet; 0 means as
	// long as it likes. When it takes longer, the packet is given OnTimeout
	// in its place, within an eighth of the time (at least half a millisecond,
	// at most 50), and so is what waits behind it, for as long as it does not
	// return: with a pool its flow, and what its strand holds at that moment,
	// with Inline all of the queue. Other flows go on: another worker takes the
	// place of the one that is stuck, up to as many again as Workers for each
	// queue; after that, everything times out. The packet and its buffer are
	// the handler's until it returns; then its flow goes on, too.
	HandlerTimeout time.Duration
	// OnTimeout is the verdict on packets that HandlerTimeout or DrainTimeout
	// decides.
	OnTimeout ExceptionPolicy
	// DrainTimeout is how long Run may go on after its context has ended, or
	// Close was called. Handlers that have not returned by then, and Bypassers,
	// are left alone, and everything that is not decided is given OnTimeout. 0
	// means DefaultDrainTimeout.
	DrainTimeout time.Duration
}

// Dialer returns a dialer whose sockets give their packets that mark (SO_MARK), so that
// rules can tell them from the host's other traffic: see [Config.OwnMark]. It looks names
// up by Go's own resolver, whose queries have the mark, too. Its other fields may be set.
//
// What comes back has no mark. Rules that queue at hooks before the local sockets pass it
// by its connection, such as by a connection mark that they give to what has OwnMark.
//
// To set a mark takes CAP_NET_ADMIN or, from Linux 5.17 on, CAP_NET_RAW, over the network
// namespace; without, Dial returns an error that matches [fs.ErrPermission]. On systems
// other than Linux it returns [errors.ErrUnsupported].
//
// [fs.ErrPermission]: https://pkg.go.dev/io/fs#pkg-variables
// [errors.ErrUnsupported]: https://pkg.go.dev/errors#pkg-variables
func Dialer(mark uint32) *net.Dialer {
	control := func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = nfsock.SetMark(fd, mark) }); cerr != nil {
			return cerr
		}
		return err
	}
	return &net.Dialer{
		Control: control,
		Resolver: &net.Resolver{
			PreferGo: true,
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				return (&net.Dialer{Control: control}).DialContext(ctx, network, address)
			},
		},
	}
}
