package main

import (
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	if got := spreadOf([]float64{4, 1, 3}); got != (spread{Median: 3, Min: 1, Max: 4}) {
		t.Errorf("got %v", got)
	}
	if got := spreadOf([]float64{4, 1, 2, 3}); got != (spread{Median: 2.5, Min: 1, Max: 4}) {
		t.Errorf("got %v", got)
	}
}

func TestBooks(t *testing.T) {
	good := life{
		tally: tally{
			Sent: 10, Ruled: 10, Received: 6, Verdicts: 6, Accepted: 5, HandlerDropped: 1, Arrived: 5,
			QueueDropped: 3, SocketDropped: 1, QueueKnown: true,
		},
		Queued: true, Counted: true,
	}
	for name, spoil := range map[string]func(*life){
		"":               func(*life) {},
		"the floods":     func(l *life) { l.Sent++ },
		"the rule":       func(l *life) { l.QueueDropped-- },
		"decided":        func(l *life) { l.Verdicts-- },
		"and 2 dropped":  func(l *life) { l.HandlerDropped++ },
		"bytes were":     func(l *life) { l.BytesIn = 1 },
		"bytes only":     func(l *life) { l.BytesOut, l.Orderly = 1, true },
		"arrived":        func(l *life) { l.Arrived = 7 },
		"refused":        func(l *life) { l.Refused = 1 },
		"not be decoded": func(l *life) { l.Undecodable = 1 },
		"or lost":        func(l *life) { l.QueueKnown, l.SocketDropped = false, 5 },
	} {
		l := good
		spoil(&l)
		b := books{Balanced: true, LostKnown: true}
		b.enter("round 1, inline", &good)
		b.enter("round 2, inline", &l)
		if b.Balanced != (name == "") {
			t.Errorf("%q: balanced is %v: %v", name, b.Balanced, b.Problems)
		}
		if name != "" && (len(b.Problems) == 0 || !strings.Contains(b.Problems[0], name) ||
			!strings.HasPrefix(b.Problems[0], "round 2, inline: ")) {
			t.Errorf("%q is not said in %q", name, b.Problems)
		}
	}
	unknown := good
	unknown.QueueKnown, unknown.QueueDropped = false, 0
	b := books{Balanced: true, LostKnown: true}
	if b.enter("round 1, inline", &unknown); !b.Balanced || b.LostKnown || b.Lost != 4 {
		t.Errorf("without the kernel's count of drops: %+v", b)
	}
}
