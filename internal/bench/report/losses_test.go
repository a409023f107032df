package report

import (
	"reflect"
	"testing"
)

// Where packets end is told by cause, as far as it is known.
func TestLossesByCause(t *testing.T) {
	queued := Life{Tally: Tally{Sent: 100, Ruled: 98, Received: 80, Verdicts: 80, Accepted: 75, HandlerDropped: 5, Arrived: 72,
		QueueDropped: 15, SocketDropped: 3, QueueKnown: true}, Queued: true, Counted: true, Routed: true}
	hidden := queued
	hidden.QueueKnown, hidden.QueueDropped = false, 0
	bare := Life{Tally: Tally{Sent: 100, Ruled: 98, Arrived: 90, QueueKnown: true}, Counted: true}
	connections := Life{Tally: Tally{Ruled: 98, Received: 98, Accepted: 98, Verdicts: 98, Arrived: 90, QueueKnown: true}, Queued: true}
	for name, c := range map[string]struct {
		l    Life
		want Losses
	}{
		"queued":      {queued, Losses{QueueFull: 15, SocketFull: 3, Handler: 5, BeforeQueue: 2, BehindQueue: 3, Known: true}},
		"hidden":      {hidden, Losses{QueueFull: 15, SocketFull: 3, Handler: 5, BeforeQueue: 2, BehindQueue: 3}},
		"unqueued":    {bare, Losses{BeforeQueue: 2, BehindQueue: 8, Known: true}},
		"connections": {connections, Losses{Known: true}},
	} {
		if got := c.l.Losses(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
	if text := (Losses{QueueFull: 1500, Handler: 2}).Describe(); text != "~1,500 found the queue full, 2 dropped by the handler" {
		t.Errorf("got %q", text)
	}
	if text := (&BatchSizes{0: 1, 4: 3}).Describe(); text != "25.0 % of 1, 75.0 % of 9-16 packets" {
		t.Errorf("got %q", text)
	}
}
