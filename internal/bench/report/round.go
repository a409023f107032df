package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/ipq"
)

// A Round is one queue's life. The figures at its top are those of the
// measured window.
type Round struct {
	Round   int           `json:"round"`     // counted from 1
	Partial bool          `json:"partial"`   // a signal cut the window short
	Window  time.Duration `json:"window_ns"` // measured time
	// OfUnqueued is the figure that the scenario is judged by, as a share of that in
	// the unqueued round of the same number; 0 without one.
	OfUnqueued float64       `json:"of_unqueued,omitempty"`
	CPU        time.Duration `json:"cpu_ns"` // of this process, user and system
	// CPUUser and CPUSystem are the parts of CPU. The kernel knows the whole
	// exactly, and the parts from one sample a tick.
	CPUUser   time.Duration `json:"cpu_user_ns"`
	CPUSystem time.Duration `json:"cpu_system_ns"`
	LoadCPU   time.Duration `json:"load_cpu_ns"` // of the processes that send and receive
	Machine   MachineCPU    `json:"machine_cpu"` // of all CPUs
	Mallocs   uint64        `json:"mallocs"`     // objects allocated
	Tally
	Lag     time.Duration `json:"lag_ns"`            // the longest time by which a paced flood sent a packet too late
	Latency *Latency      `json:"latency,omitempty"` // of churn's connections, or of datagrams with -latency
	// Noise has a sentence for each thing that disturbed the round.
	Noise []string `json:"noise,omitempty"`
	// Times are all that was timed, and User is the time that all processes of the
	// run spent outside the kernel.
	Times Times         `json:"-"`
	User  time.Duration `json:"-"`
	// Life has the counts from opening the queue to unbinding it, the warm-up
	// included: what the books are made from.
	Life Life `json:"life"`
}

// A Tally counts packets and the calls that they took.
type Tally struct {
	Sent     uint64 `json:"sent"`     // by the floods
	Ruled    uint64 `json:"ruled"`    // packets that came to the rule that queues
	Bypassed uint64 `json:"bypassed"` // packets that the kernel accepted before that
	Arrived  uint64 `json:"arrived"`  // packets that came to the other end
	Received uint64 `json:"received"` // by the consumer
	Batches  uint64 `json:"batches"`  // recvmmsg calls that brought any
	// BatchSizes counts Batches by how many packets they brought: item 0 those with
	// one, item i those with more than 2^(i-1) and no more than 2^i.
	BatchSizes BatchSizes `json:"batches_up_to"`
	Verdicts   uint64     `json:"verdicts"` // given to the kernel
	Accepted   uint64     `json:"accepted"` // of the verdicts
	// HandlerDropped counts the verdicts that drop.
	HandlerDropped uint64 `json:"handler_dropped"`
	Messages       uint64 `json:"messages"` // netlink messages that carried verdicts
	Writes         uint64 `json:"writes"`   // sendmsg calls that carried messages
	Parks          uint64 `json:"parks"`    // a receive loop went to sleep
	Waits          uint64 `json:"waits"`    // a receive loop waited for a free batch
	// QueueDropped counts packets that the kernel dropped because the queue was
	// full. The kernel tells it to some users only: see QueueKnown. SocketDropped
	// counts those that did not fit into the socket's buffer.
	QueueDropped  uint64 `json:"queue_dropped"`
	SocketDropped uint64 `json:"socket_dropped"`
	QueueKnown    bool   `json:"queue_dropped_known"`
	Sequence      uint64 `json:"sequence"` // packets that the queue took, if QueueKnown
	Delivery
}

// A Delivery is what a load has done.
type Delivery struct {
	Bytes       uint64 `json:"bytes,omitempty"`              // of TCP's payload that was received
	Connections uint64 `json:"connections,omitempty"`        // that were begun, answered and ended
	Failed      uint64 `json:"failed_connections,omitempty"` // that ended before that
}

func (d Delivery) minus(before Delivery) Delivery {
	d.Bytes -= before.Bytes
	d.Connections -= before.Connections
	d.Failed -= before.Failed
	return d
}

// BatchSizes count batches by size, as ipq.Stats.BatchSizes does.
type BatchSizes [len(ipq.Stats{}.BatchSizes)]uint64

// add adds the counts of more, or with the sign -1 subtracts them.
func (b *BatchSizes) add(more BatchSizes, sign int) {
	for i, n := range more {
		b[i] += uint64(sign) * n
	}
}

// Describe says which share of the batches had which size.
func (b *BatchSizes) Describe() string {
	var all uint64
	for _, n := range b {
		all += n
	}
	var parts []string
	for i, n := range b {
		if n == 0 {
			continue
		}
		size := strconv.Itoa(1 << i)
		if i > 1 {
			size = fmt.Sprintf("%d-%d", 1<<i/2+1, 1<<i)
		}
		parts = append(parts, fmt.Sprintf("%s %% of %s", plain.Fixed(100*Ratio(n, all), 1), size))
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ", ") + " packets"
}

// Minus returns the counts since before.
func (t Tally) Minus(before Tally) Tally {
	t.Sent -= before.Sent
	t.Ruled -= before.Ruled
	t.Bypassed -= before.Bypassed
	t.Arrived -= before.Arrived
	t.Received -= before.Received
	t.Batches -= before.Batches
	t.BatchSizes.add(before.BatchSizes, -1)
	t.Verdicts -= before.Verdicts
	t.Accepted -= before.Accepted
	t.HandlerDropped -= before.HandlerDropped
	t.Messages -= before.Messages
	t.Writes -= before.Writes
	t.Parks -= before.Parks
	t.Waits -= before.Waits
	t.QueueDropped -= before.QueueDropped
	t.SocketDropped -= before.SocketDropped
	t.Sequence -= before.Sequence
	t.Delivery = t.Delivery.minus(before.Delivery)
	return t
}

// KernelLost is how many packets the kernel dropped on their way to the consumer:
// exact if QueueKnown, otherwise what is missing.
func (t *Tally) KernelLost() uint64 {
	if t.QueueKnown {
		return t.QueueDropped + t.SocketDropped
	}
	queued := max(t.Sent-t.Bypassed, t.Ruled) // live figures have no Ruled, connections no Sent
	if queued < t.Received {
		return 0 // the window began with packets that waited in the queue
	}
	return queued - t.Received
}

// A Life is all that happened to one queue.
type Life struct {
	Tally
	// Queued tells that there was a queue, and Counted that the senders counted
	// their packets. Routed tells that there were links before the queue, which may
	// lose some, and Segmented that super-packets were cut up for the queue.
	Queued    bool `json:"queued"`
	Counted   bool `json:"counted"`
	Routed    bool `json:"routed"`
	Segmented bool `json:"segmented"`
	// BytesOut and BytesIn are what all connections carried, by the counts of their
	// senders and receivers. Orderly tells that all of them ended in time.
	BytesOut    uint64 `json:"bytes_out"`
	BytesIn     uint64 `json:"bytes_in"`
	Orderly     bool   `json:"orderly"`
	MissedTurns uint64 `json:"missed_turns"` // packets that a paced flood had no room to send
	// Lag is the longest time by which a paced flood sent a packet too late, and
	// Untimed counts datagrams for which the receiver had no room.
	Lag     time.Duration `json:"lag_ns"`
	Untimed uint64        `json:"untimed,omitempty"`
	// Refused counts verdicts that the kernel did not take, and Undecodable
	// messages that goipq could not read. Any of these is a bug.
	Refused     uint64 `json:"refused_verdicts"`
	Undecodable uint64 `json:"undecodable"`
	Lost        Losses `json:"lost"` // by cause
}

// packets is how many the round carried.
func (r *Round) packets() uint64 {
	if n := r.decided(); n > 0 {
		return n
	}
	return r.Arrived
}

// decided is how many were decided, by the handler or the bypass.
func (t *Tally) decided() uint64 { return t.Verdicts + t.Bypassed }

func (r *Round) PerSecond(n uint64) float64 { return float64(n) / r.Window.Seconds() }

// Ratio is a / b, or NaN when there is nothing to divide by.
func Ratio(a, b uint64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return float64(a) / float64(b)
}
