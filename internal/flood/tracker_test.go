package flood

import (
	"testing"
	"time"
)

func TestTracker(t *testing.T) {
	const timeout = time.Second
	var c counters
	tr := newTracker(Config{Flows: 2, Window: 4, Timeout: timeout}, &c)
	check := func(step string, want Stats, room int) {
		t.Helper()
		if got := c.stats(); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", step, got, want)
		}
		if got := tr.room(4); got != room {
			t.Errorf("%s: room for %d, want %d", step, got, room)
		}
	}

	tr.sending(4, 0)
	check("window full", Stats{}, 0)
	tr.unsent(1)
	check("one refused", Stats{}, 1)
	tr.reply(3)
	check("reply to a request that was not sent", Stats{}, 1)
	tr.sending(1, 0)

	tr.reply(1)
	tr.reply(0)
	check("flows may overtake each other", Stats{Replies: 2}, 2)
	tr.reply(1)
	check("the same reply again", Stats{Replies: 2, Duplicates: 1}, 2)

	tr.sending(2, timeout/2) // 4 and 5
	tr.reply(4)
	tr.reply(2)
	check("2 after 4 in one flow", Stats{Replies: 4, Duplicates: 1, OutOfOrder: 1}, 2)

	tr.expire(timeout - 1)
	check("just in time", Stats{Replies: 4, Duplicates: 1, OutOfOrder: 1}, 2)
	tr.expire(timeout)
	check("3 given up, 5 not", Stats{Replies: 4, Duplicates: 1, OutOfOrder: 1, Lost: 1}, 3)
	tr.reply(3)
	check("late reply", Stats{Replies: 4, Duplicates: 1, OutOfOrder: 1, Lost: 1, Late: 1}, 3)
	tr.reply(5)
	check("all done", Stats{Replies: 5, Duplicates: 1, OutOfOrder: 1, Lost: 1, Late: 1}, 4)
}

// A request that waits holds up the others only lookahead windows later.
func TestTrackerLookahead(t *testing.T) {
	var c counters
	tr := newTracker(Config{Flows: 3, Window: 2, Timeout: time.Second}, &c)
	tr.sending(1, 0) // never answered
	for seq := uint64(1); seq < 2*lookahead; seq++ {
		if tr.room(2) != 1 {
			t.Fatalf("after %d requests: room for %d, want 1", seq, tr.room(2))
		}
		tr.sending(1, 0)
		tr.reply(seq)
		tr.expire(0)
	}
	if tr.room(2) != 0 {
		t.Fatalf("room for %d although the oldest request is %d back", tr.room(2), tr.next-tr.oldest)
	}
	tr.expire(time.Second)
	if tr.room(2) != 2 {
		t.Fatalf("room for %d after the oldest was given up, want 2", tr.room(2))
	}
	want := Stats{Replies: 2*lookahead - 1, Lost: 1}
	if got := c.stats(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A request that the socket refused leaves nothing behind where an old one was
// remembered.
func TestTrackerUnsentForgets(t *testing.T) {
	var c counters
	tr := newTracker(Config{Flows: 1, Window: 1, Timeout: time.Second}, &c)
	for seq := range uint64(lookahead) {
		tr.sending(1, 0)
		tr.reply(seq)
		tr.expire(0)
	}
	tr.sending(1, 0)
	tr.unsent(1)
	tr.reply(0)
	if got, want := c.stats(), (Stats{Replies: lookahead, Duplicates: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if tr.room(1) != 1 {
		t.Errorf("room for %d, want 1", tr.room(1))
	}
}
