package ipqtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/seam"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
)

// A Queue is an ipq.Queue whose kernel is made up. Its methods are for the goroutine
// of the test, but for those of ipq.Queue.
type Queue struct {
	*ipq.Queue
	t       testing.TB
	kernel  *fakekernel.Kernel
	socket  *nfsock.Socket
	devices *devices
	open    bool // Config.FailOpen or Observe

	cancel context.CancelFunc // ends Run; nil before it
	over   context.Context    // it ends when Run has returned, with its error as the cause
	end    context.CancelCauseFunc
	full   bool // the next packet finds the queue full
	gone   bool // the queue was taken away

	mu      sync.Mutex
	results []Result // by tag, of the packets that are being sent
}

// A Result is what has become of a packet.
type Result struct {
	// Verdict is the one that the kernel was given, with its mark if there was one. That
	// of ipq.Reject is Drop: nobody is told in a test, and Stats' Rejects have what would
	// have been sent.
	Verdict ipq.Verdict
	// Payload is the packet as it goes on: as the handler has edited it, or else the
	// slice that was sent. It is nil if the packet was dropped.
	Payload []byte
	// Edited reports whether the verdict brought a new payload.
	Edited bool
	// These are what the handler set, if it did.
	Priority                   *uint32
	ConnMark, ConnMask         *uint32
	ConnLabels, ConnLabelsMask *[16]byte
	// NotQueued reports that the packet did not fit into the queue: the handler has not
	// seen it.
	NotQueued bool
}

// New opens a queue. cfg is for Open, but that Queues must be 0 or 1, and that what
// Config says of namespaces and buffers does not matter. The queue is closed when the
// test ends.
func New(t testing.TB, cfg ipq.Config) *Queue {
	t.Helper()
	if cfg.Queues > 1 {
		t.Fatalf("ipqtest: Config.Queues is %d: a test has one queue", cfg.Queues)
	}
	k := fakekernel.NewMemory(cfg.Queue)
	t.Cleanup(func() { k.Close() })
	q := &Queue{t: t, kernel: k, devices: newDevices(), open: cfg.FailOpen || cfg.Observe}
	q.over, q.end = context.WithCancelCause(context.Background())
	cfg.NetNS = 0
	opened, err := seam.Open(cfg, func(o *nfsock.Options) (seam.Link, error) {
		s, err := nfsock.New(o, k.Conn())
		if err != nil {
			return seam.Link{}, err
		}
		s.SetNames(q.devices.names)
		q.socket = s
		return seam.Link{Socket: s, Recv: k.RecvMsg, Send: k.SendMsg}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	q.Queue = opened.(*ipq.Queue)
	k.Judge(q.judge)
	t.Cleanup(func() {
		if err := q.Queue.Close(); err != nil {
			t.Errorf("ipqtest: Close: %v", err)
		}
		if err := k.Check(); err != nil {
			t.Errorf("ipqtest: %v", err)
		}
	})
	return q
}

// Run has h decide packets until the test ends. h may be nil: see ipq.Queue.SetHandler.
func (q *Queue) Run(h ipq.Handler) {
	ctx, cancel := context.WithCancel(context.Background())
	q.cancel = cancel
	go func() { q.end(q.Queue.Run(ctx, h)) }()
	q.t.Cleanup(func() {
		q.Stop()
		// Run's nil is the context's own error.
		if err := context.Cause(q.over); err != context.Canceled && !(q.gone && errors.Is(err, ipq.ErrUnbound)) {
			q.t.Errorf("ipqtest: Run: %v", err)
		}
	})
}

// Stop ends Run before the test does, waits for it, and returns the counts, which are
// exact then.
func (q *Queue) Stop() ipq.Stats {
	if q.cancel != nil {
		q.cancel()
		<-q.over.Done()
	}
	return q.Stats()
}

// Send queues a packet, an IPv4 or IPv6 packet unless an option says otherwise, and
// waits for its verdict.
func (q *Queue) Send(packet []byte, options ...Option) Result {
	q.t.Helper()
	return q.SendAll([][]byte{packet}, options...)[0]
}

// SendAll queues packets, one after the other without waiting for verdicts, as many as
// Config.MaxQueueLen at a time, and returns what has become of each.
func (q *Queue) SendAll(packets [][]byte, options ...Option) []Result {
	q.t.Helper()
	var like packet
	like.devices = q.devices
	for _, o := range options {
		o(&like)
	}
	results := make([]Result, len(packets))
	q.mu.Lock()
	q.results = results
	q.mu.Unlock()
	p := like.Packet
	for i, b := range packets {
		p.Payload = b
		results[i].Payload = b
		if q.full || !q.queue(&p, uint32(i)) {
			q.full = false
			results[i].NotQueued = true
			if results[i].Verdict = ipq.Accept; !q.open {
				results[i].Verdict, results[i].Payload = ipq.Drop, nil
			}
		}
	}
	q.await(0)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.results = nil
	return results
}

// queue reports whether the packet was queued. It waits while the queue is full.
func (q *Queue) queue(p *fakekernel.Packet, tag uint32) bool {
	q.t.Helper()
	for {
		_, fate := q.kernel.OfferWait(p, tag)
		switch fate {
		case fakekernel.Queued:
			return true
		case fakekernel.QueueFull, fakekernel.FailedOpen:
			// There is room when a verdict has been given.
			q.await(max(0, q.kernel.Waiting()-1))
		default:
			q.t.Fatalf("ipqtest: nobody listens on the queue: call Run first, and see what it returned")
		}
	}
}

// await waits until so many packets at the most have no verdict.
func (q *Queue) await(most int) {
	q.t.Helper()
	if err := q.kernel.Decided(q.over, most); err != nil && q.kernel.Waiting() > most {
		q.t.Fatalf("ipqtest: Run has returned (%v), and %d packets have no verdict", context.Cause(q.over), q.kernel.Waiting())
	}
}

// judge takes a verdict.
func (q *Queue) judge(_, tag uint32, v *fakekernel.Verdict) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if int(tag) >= len(q.results) {
		return fmt.Errorf("a verdict on packet %d of %d", tag, len(q.results))
	}
	r := &q.results[tag]
	r.Verdict = ipq.Verdict(v.Verdict)
	if len(v.Attrs) > 0 {
		if mark, ok := v.U32(zerocopy.AttrMark); ok {
			r.Verdict = r.Verdict.WithMark(mark)
		}
		if p, ok := v.U32(zerocopy.AttrPriority); ok {
			r.Priority = &p
		}
		r.connection(v.Attrs[zerocopy.AttrCT])
	}
	switch payload := v.Payload(); {
	case r.Verdict.Kind() == ipq.Drop:
		r.Payload = nil
	case payload != nil:
		r.Payload, r.Edited = slices.Clone(payload), true
	}
	return nil
}

// connection takes what a verdict's NFQA_CT does to the connection.
func (r *Result) connection(nested []byte) {
	// Of linux/netfilter/nfnetlink_conntrack.h.
	const ctaMark, ctaMarkMask, ctaLabels, ctaLabelsMask, typeMask = 8, 21, 22, 23, 0x3fff
	for len(nested) >= zerocopy.AttrHeaderLen {
		n := int(binary.NativeEndian.Uint16(nested))
		if n < zerocopy.AttrHeaderLen || n > len(nested) {
			break
		}
		typ, value := binary.NativeEndian.Uint16(nested[2:])&typeMask, nested[zerocopy.AttrHeaderLen:n]
		switch len(value) {
		case 4:
			v := binary.BigEndian.Uint32(value)
			switch typ {
			case ctaMark:
				r.ConnMark = &v
			case ctaMarkMask:
				r.ConnMask = &v
			}
		case 16:
			v := [16]byte(value)
			switch typ {
			case ctaLabels:
				r.ConnLabels = &v
			case ctaLabelsMask:
				r.ConnLabelsMask = &v
			}
		}
		nested = nested[min(n+zerocopy.Pad(n), len(nested)):]
	}
}

// A Fault is something that the kernel does wrong.
type Fault uint8

// The faults of the kernel.
const (
	// QueueFull: the next packet does not fit into the queue.
	QueueFull Fault = iota
	// Overrun: the next receive call fails with ENOBUFS, as when the socket's buffer
	// has overflowed.
	Overrun
	// NoMemory: the next receive call and the next write fail with ENOMEM.
	NoMemory
	// Refusal: the next verdict is refused with EINVAL. The packet then gets the
	// plainest one, Drop, or Accept with Config.FailOpen, and Stats counts it in
	// RefusedVerdicts. The Result has the verdict that was refused.
	Refusal
	// Flushed: the packets that wait are decided by the kernel, as when a device goes
	// down.
	Flushed
	// Unbound: the queue is taken away. Run fails with ipq.ErrUnbound at the next
	// verdict, which is not a failure of the test.
	Unbound
)

// Fault has the kernel do something wrong, once.
func (q *Queue) Fault(f Fault) {
	q.t.Helper()
	switch f {
	case QueueFull:
		q.full = true
	case Overrun:
		q.kernel.FailRecv(syscall.ENOBUFS)
	case NoMemory:
		q.kernel.FailRecv(syscall.ENOMEM)
		q.kernel.FailSend(syscall.ENOMEM)
	case Refusal:
		q.kernel.RefuseVerdicts(syscall.EINVAL)
	case Flushed:
		q.kernel.Flush()
	case Unbound:
		q.gone = true
		q.kernel.Unbind()
	default:
		q.t.Fatalf("ipqtest: there is no fault %d", f)
	}
}
