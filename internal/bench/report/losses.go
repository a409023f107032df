package report

import (
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
)

// Losses tell where packets ended before the far end. The kernel lost them, except
// those that the handler dropped.
type Losses struct {
	// QueueFull counts packets that found the queue full (queue_dropped), and
	// SocketFull those that found its socket's buffer full (queue_user_dropped).
	QueueFull  uint64 `json:"queue_full"`
	SocketFull uint64 `json:"socket_full"`
	Handler    uint64 `json:"handler"` // verdicts that drop
	// BeforeQueue counts packets that were sent and did not come to the rule, and
	// BehindQueue those that were accepted and did not arrive: links and backlogs
	// were full. Both are 0 for connections, whose senders count no packets.
	BeforeQueue uint64 `json:"before_queue"`
	BehindQueue uint64 `json:"behind_queue"`
	// Known is false where the kernel does not show its counters. Then QueueFull is
	// what is missing.
	Known bool `json:"known"`
}

// Losses returns the packets that did not come to the far end, by cause.
func (l *Life) Losses() Losses {
	lost := Losses{Handler: l.HandlerDropped, Known: l.QueueKnown}
	if l.Counted {
		lost.BeforeQueue = shortfall(l.Ruled+l.Bypassed, l.Sent)
		lost.BehindQueue = shortfall(l.Arrived, l.Accepted+l.Bypassed)
	}
	if !l.Queued {
		if l.Counted {
			lost.BehindQueue = shortfall(l.Arrived, l.Ruled)
		}
		return lost
	}
	lost.SocketFull, lost.QueueFull = l.SocketDropped, l.QueueDropped
	if !l.QueueKnown {
		lost.QueueFull = shortfall(l.Received+l.SocketDropped, l.Ruled)
	}
	return lost
}

// shortfall is how many of the expected ones are missing.
func shortfall(got, want uint64) uint64 { return max(want, got) - got }

// InKernel is how many packets the kernel lost.
func (l Losses) InKernel() uint64 {
	return l.QueueFull + l.SocketFull + l.BeforeQueue + l.BehindQueue
}

// plus adds up the losses of two lives.
func (l Losses) plus(more Losses) Losses {
	return Losses{
		QueueFull:   l.QueueFull + more.QueueFull,
		SocketFull:  l.SocketFull + more.SocketFull,
		Handler:     l.Handler + more.Handler,
		BeforeQueue: l.BeforeQueue + more.BeforeQueue,
		BehindQueue: l.BehindQueue + more.BehindQueue,
		Known:       l.Known && more.Known,
	}
}

// Describe lists the causes of loss.
func (l Losses) Describe() string {
	var parts []string
	for _, x := range []struct {
		n    uint64
		text string
	}{
		{l.QueueFull, "found the queue full"},
		{l.SocketFull, "its socket's buffer full"},
		{l.Handler, "dropped by the handler"},
		{l.BeforeQueue, "lost before the queue"},
		{l.BehindQueue, "lost behind it"},
	} {
		if x.n == 0 {
			continue
		}
		text := plain.Commas(x.n) + " " + x.text
		if !l.Known && x.n == l.QueueFull {
			text = "~" + text
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return "nothing lost"
	}
	return strings.Join(parts, ", ")
}
