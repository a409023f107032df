package report

import (
	"fmt"

	"github.com/goipq/goipq/internal/bench/plain"
)

// The Books hold what became of every packet sent, over all rounds, warm-ups
// and interrupted rounds included.
type Books struct {
	Balanced bool   `json:"balanced"` // there are no problems
	Sent     uint64 `json:"sent"`     // counted by the floods
	Ruled    uint64 `json:"ruled"`    // counted by the rule that queues
	Received uint64 `json:"received"` // by the consumer
	Verdicts uint64 `json:"verdicts"` // given to the kernel
	Accepted uint64 `json:"accepted"` // of the verdicts
	Bypassed uint64 `json:"bypassed"` // by the kernel, in front of the queue
	Arrived  uint64 `json:"arrived"`  // at the other end, behind the queue
	// Lost is what the kernel says that it dropped, if LostKnown; otherwise it is
	// what is missing.
	Lost      uint64 `json:"lost"`
	LostKnown bool   `json:"lost_known"`
	// Passed counts the packets of the mode unqueued, at the rule that stands in
	// the place of a queue. They are among those sent and arrived.
	Passed   uint64   `json:"passed_unqueued"`
	Bytes    uint64   `json:"bytes"`    // of TCP that arrived
	Problems []string `json:"problems"` // a sentence for each thing that does not agree
}

// Enter adds the life of one queue. The title names it in problems.
func (b *Books) Enter(title string, l *Life) {
	b.Sent += l.Sent
	b.Bytes += l.BytesIn
	if l.Queued {
		b.Ruled += l.Ruled
	} else {
		b.Passed += l.Ruled
	}
	b.Received += l.Received
	b.Verdicts += l.Verdicts
	b.Accepted += l.Accepted
	b.Bypassed += l.Bypassed
	b.Arrived += l.Arrived
	if l.Queued {
		b.Lost += l.KernelLost()
		b.LostKnown = b.LostKnown && l.QueueKnown
	}

	disagree := func(format string, args ...any) {
		b.Balanced = false
		b.Problems = append(b.Problems, title+": "+fmt.Sprintf(format, args...))
	}
	switch {
	case !l.Counted: // nobody but the rule has counted connections' packets
	case l.Sent != l.Ruled+l.Bypassed && !l.Routed, l.Sent < l.Ruled+l.Bypassed:
		disagree("the floods sent %s, the rules counted %s", plain.Commas(l.Sent), plain.Commas(l.Ruled+l.Bypassed))
	}
	b.checkBytes(l, disagree)
	if !l.Queued {
		if l.Arrived > l.Ruled {
			disagree("%s passed, %s arrived", plain.Commas(l.Ruled), plain.Commas(l.Arrived))
		}
		return
	}
	switch accounted := l.Received + l.QueueDropped + l.SocketDropped; {
	case l.Segmented:
		// One packet at the rule becomes many in the queue. The kernel numbers
		// those, except the ones that found the queue full.
		if l.QueueKnown && l.Received+l.SocketDropped != l.Sequence {
			disagree("the queue took %s, but %s were received and %s lost at its socket",
				plain.Commas(l.Sequence), plain.Commas(l.Received), plain.Commas(l.SocketDropped))
		}
	case l.QueueKnown && accounted != l.Ruled:
		disagree("the rule queued %s, but %s were received and %s lost",
			plain.Commas(l.Ruled), plain.Commas(l.Received), plain.Commas(l.KernelLost()))
	case accounted > l.Ruled:
		disagree("the rule queued %s, but %s were received or lost", plain.Commas(l.Ruled), plain.Commas(accounted))
	}
	if l.Verdicts != l.Received {
		disagree("%s received, %s decided", plain.Commas(l.Received), plain.Commas(l.Verdicts))
	}
	if l.Accepted+l.HandlerDropped != l.Verdicts {
		disagree("%s decided, but %s accepted and %s dropped",
			plain.Commas(l.Verdicts), plain.Commas(l.Accepted), plain.Commas(l.HandlerDropped))
	}
	if l.Arrived > l.Accepted+l.Bypassed {
		disagree("%s accepted, %s arrived", plain.Commas(l.Accepted+l.Bypassed), plain.Commas(l.Arrived))
	}
	if l.Refused > 0 {
		disagree("the kernel refused %s verdicts", plain.Commas(l.Refused))
	}
	if l.Undecodable > 0 {
		disagree("%s messages could not be decoded", plain.Commas(l.Undecodable))
	}
}

// checkBytes compares what connections sent with what came out of them.
func (b *Books) checkBytes(l *Life, disagree func(string, ...any)) {
	switch {
	case l.BytesIn > l.BytesOut:
		disagree("%s bytes were sent, %s received", plain.Commas(l.BytesOut), plain.Commas(l.BytesIn))
	case l.Orderly && l.BytesIn != l.BytesOut:
		disagree("all connections have ended, but of %s bytes only %s were received",
			plain.Commas(l.BytesOut), plain.Commas(l.BytesIn))
	}
}

// Describe says whether the books balance, and what is in them.
func (b *Books) Describe() string {
	if b.Balanced {
		return "balanced: " + b.sum()
	}
	return "DO NOT BALANCE: " + b.sum()
}

// sum says what became of the packets.
func (b *Books) sum() string {
	sign := ""
	if !b.LostKnown {
		sign = "~"
	}
	text := ""
	if b.Sent > 0 || b.Ruled == 0 {
		text = plain.Commas(b.Sent) + " sent, "
	}
	text += fmt.Sprintf("%s queued by the rule: %s received, %s decided, %s%s lost in the kernel",
		plain.Commas(b.Ruled), plain.Commas(b.Received), plain.Commas(b.Verdicts), sign, plain.Commas(b.Lost))
	if b.Bypassed > 0 {
		text += fmt.Sprintf("; %s bypassed the queue", plain.Commas(b.Bypassed))
	}
	if b.Passed > 0 {
		text += fmt.Sprintf("; %s passed unqueued", plain.Commas(b.Passed))
	}
	if b.Bytes > 0 {
		text += fmt.Sprintf("; %s bytes of TCP arrived", plain.Commas(b.Bytes))
	}
	return text
}
