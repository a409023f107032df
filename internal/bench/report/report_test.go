package report

import (
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/peers"
)

func TestMedian(t *testing.T) {
	if got := SpreadOf([]float64{4, 1, 3}); got.Spread != (peers.Spread{Median: 3, Min: 1, Max: 4, Low: 1, High: 4}) {
		t.Errorf("got %v", got)
	}
	if got := SpreadOf([]float64{4, 1, 2, 3}); got.Spread != (peers.Spread{Median: 2.5, Min: 1, Max: 4, Low: 1, High: 4}) {
		t.Errorf("got %v", got)
	}
}

func TestBooks(t *testing.T) {
	good := Life{
		Tally: Tally{
			Sent: 10, Ruled: 10, Received: 6, Verdicts: 6, Accepted: 5, HandlerDropped: 1, Arrived: 5,
			QueueDropped: 3, SocketDropped: 1, QueueKnown: true,
		},
		Queued: true, Counted: true,
	}
	for name, spoil := range map[string]func(*Life){
		"":               func(*Life) {},
		"the floods":     func(l *Life) { l.Sent++ },
		"the rule":       func(l *Life) { l.QueueDropped-- },
		"decided":        func(l *Life) { l.Verdicts-- },
		"and 2 dropped":  func(l *Life) { l.HandlerDropped++ },
		"bytes were":     func(l *Life) { l.BytesIn = 1 },
		"bytes only":     func(l *Life) { l.BytesOut, l.Orderly = 1, true },
		"arrived":        func(l *Life) { l.Arrived = 7 },
		"refused":        func(l *Life) { l.Refused = 1 },
		"not be decoded": func(l *Life) { l.Undecodable = 1 },
		"or lost":        func(l *Life) { l.QueueKnown, l.SocketDropped = false, 5 },
	} {
		l := good
		spoil(&l)
		b := Books{Balanced: true, LostKnown: true}
		b.Enter("round 1, inline", &good)
		b.Enter("round 2, inline", &l)
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
	b := Books{Balanced: true, LostKnown: true}
	if b.Enter("round 1, inline", &unknown); !b.Balanced || b.LostKnown || b.Lost != 4 {
		t.Errorf("without the kernel's count of drops: %+v", b)
	}
}
