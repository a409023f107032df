package main

import "fmt"

// The books hold what became of every packet sent, over all rounds, warm-ups
// and interrupted rounds included.
type books struct {
	Balanced bool   `json:"balanced"`
	Sent     uint64 `json:"sent"`  // counted by the floods
	Ruled    uint64 `json:"ruled"` // counted by the rule that queues
	Received uint64 `json:"received"`
	Verdicts uint64 `json:"verdicts"`
	Accepted uint64 `json:"accepted"` // of the verdicts
	Bypassed uint64 `json:"bypassed"` // by the kernel, in front of the queue
	Arrived  uint64 `json:"arrived"`  // at the other end, behind the queue
	// Lost is what the kernel dropped, if LostKnown, otherwise what is
	// missing.
	Lost      uint64 `json:"lost"`
	LostKnown bool   `json:"lost_known"`
	// Passed counts packets at the rule in the place of a queue, in the mode
	// that has none; they are among those sent and arrived.
	Passed   uint64   `json:"passed_unqueued"`
	Bytes    uint64   `json:"bytes"`    // of TCP that arrived
	Problems []string `json:"problems"` // a sentence for each thing that does not agree
}

// enter adds the life of one queue, which title names.
func (b *books) enter(title string, l *life) {
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
		b.Lost += l.kernelLost()
		b.LostKnown = b.LostKnown && l.QueueKnown
	}

	disagree := func(format string, args ...any) {
		b.Balanced = false
		b.Problems = append(b.Problems, title+": "+fmt.Sprintf(format, args...))
	}
	switch {
	case !l.Counted: // nobody but the rule has counted connections' packets
	case l.Sent != l.Ruled+l.Bypassed && !l.Routed, l.Sent < l.Ruled+l.Bypassed:
		disagree("the floods sent %s, the rules counted %s", commas(l.Sent), commas(l.Ruled+l.Bypassed))
	}
	b.checkBytes(l, disagree)
	if !l.Queued {
		if l.Arrived > l.Ruled {
			disagree("%s passed, %s arrived", commas(l.Ruled), commas(l.Arrived))
		}
		return
	}
	switch accounted := l.Received + l.QueueDropped + l.SocketDropped; {
	case l.Segmented:
		// One packet at the rule becomes many in the queue. The kernel numbers
		// those, except what found the queue full.
		if l.QueueKnown && l.Received+l.SocketDropped != l.Sequence {
			disagree("the queue took %s, but %s were received and %s lost at its socket",
				commas(l.Sequence), commas(l.Received), commas(l.SocketDropped))
		}
	case l.QueueKnown && accounted != l.Ruled:
		disagree("the rule queued %s, but %s were received and %s lost",
			commas(l.Ruled), commas(l.Received), commas(l.kernelLost()))
	case accounted > l.Ruled:
		disagree("the rule queued %s, but %s were received or lost", commas(l.Ruled), commas(accounted))
	}
	if l.Verdicts != l.Received {
		disagree("%s received, %s decided", commas(l.Received), commas(l.Verdicts))
	}
	if l.Accepted+l.HandlerDropped != l.Verdicts {
		disagree("%s decided, but %s accepted and %s dropped",
			commas(l.Verdicts), commas(l.Accepted), commas(l.HandlerDropped))
	}
	if l.Arrived > l.Accepted+l.Bypassed {
		disagree("%s accepted, %s arrived", commas(l.Accepted+l.Bypassed), commas(l.Arrived))
	}
	if l.Refused > 0 {
		disagree("the kernel refused %s verdicts", commas(l.Refused))
	}
	if l.Undecodable > 0 {
		disagree("%s messages could not be decoded", commas(l.Undecodable))
	}
}

// checkBytes compares what connections carried at both ends.
func (b *books) checkBytes(l *life, disagree func(string, ...any)) {
	switch {
	case l.BytesIn > l.BytesOut:
		disagree("%s bytes were sent, %s received", commas(l.BytesOut), commas(l.BytesIn))
	case l.Orderly && l.BytesIn != l.BytesOut:
		disagree("all connections have ended, but of %s bytes only %s were received",
			commas(l.BytesOut), commas(l.BytesIn))
	}
}

// describe says in one sentence what the books have.
func (b *books) describe() string {
	if b.Balanced {
		return "balanced: " + b.sum()
	}
	return "DO NOT BALANCE: " + b.sum()
}

// sum is what became of the packets, in words.
func (b *books) sum() string {
	sign := ""
	if !b.LostKnown {
		sign = "~"
	}
	text := ""
	if b.Sent > 0 || b.Ruled == 0 {
		text = commas(b.Sent) + " sent, "
	}
	text += fmt.Sprintf("%s queued by the rule: %s received, %s decided, %s%s lost in the kernel",
		commas(b.Ruled), commas(b.Received), commas(b.Verdicts), sign, commas(b.Lost))
	if b.Bypassed > 0 {
		text += fmt.Sprintf("; %s bypassed the queue", commas(b.Bypassed))
	}
	if b.Passed > 0 {
		text += fmt.Sprintf("; %s passed unqueued", commas(b.Passed))
	}
	if b.Bytes > 0 {
		text += fmt.Sprintf("; %s bytes of TCP arrived", commas(b.Bytes))
	}
	return text
}
