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
	Arrived  uint64 `json:"arrived"` // on loopback, behind the queue
	// Lost is what the kernel dropped, if LostKnown, otherwise what is
	// missing.
	Lost      uint64   `json:"lost"`
	LostKnown bool     `json:"lost_known"`
	Problems  []string `json:"problems"` // a sentence for each thing that does not agree
}

func newBooks() books {
	return books{Balanced: true, LostKnown: true, Problems: []string{}}
}

// enter adds the life of one queue, which title names.
func (b *books) enter(title string, l *life) {
	b.Sent += l.Sent
	b.Ruled += l.Ruled
	b.Received += l.Received
	b.Verdicts += l.Verdicts
	b.Arrived += l.Arrived
	b.Lost += l.lost()
	b.LostKnown = b.LostKnown && l.QueueKnown

	disagree := func(format string, args ...any) {
		b.Balanced = false
		b.Problems = append(b.Problems, title+": "+fmt.Sprintf(format, args...))
	}
	if l.Sent != l.Ruled {
		disagree("the floods sent %s, the rule counted %s", commas(l.Sent), commas(l.Ruled))
	}
	switch accounted := l.Received + l.QueueDropped + l.SocketDropped; {
	case l.QueueKnown && accounted != l.Ruled:
		disagree("the rule queued %s, but %s were received and %s lost",
			commas(l.Ruled), commas(l.Received), commas(l.lost()))
	case accounted > l.Ruled:
		disagree("the rule queued %s, but %s were received or lost", commas(l.Ruled), commas(accounted))
	}
	if l.Verdicts != l.Received {
		disagree("%s received, %s decided", commas(l.Received), commas(l.Verdicts))
	}
	if l.Arrived > l.Verdicts {
		disagree("%s decided, %s arrived", commas(l.Verdicts), commas(l.Arrived))
	}
	if l.Refused > 0 {
		disagree("the kernel refused %s verdicts", commas(l.Refused))
	}
	if l.Undecodable > 0 {
		disagree("%s messages could not be decoded", commas(l.Undecodable))
	}
}
