package flood

import "time"

// A tracker follows the requests of a closed loop from sending to their reply
// or loss. It belongs to one goroutine.
type tracker struct {
	c       *counters
	flows   uint64
	timeout int64

	// sent holds, at a request's number modulo its length, when the request
	// was sent if it waits for a reply, else one of the two states below.
	sent    []int64
	oldest  uint64 // no request before this one waits
	next    uint64 // the number of the next request
	waiting int

	newest []uint64 // by flow: one more than the latest request answered
}

const (
	answered = -1
	givenUp  = -2
)

// lookahead is how many windows the loop may send past a request that still
// waits: packets of a slow flow must not hold up the others.
const lookahead = 64

func newTracker(cfg Config, c *counters) *tracker {
	size := 1
	for size < cfg.Window*lookahead {
		size *= 2
	}
	return &tracker{
		c:       c,
		flows:   uint64(cfg.Flows),
		timeout: int64(cfg.Timeout),
		sent:    make([]int64, size),
		newest:  make([]uint64, cfg.Flows),
	}
}

func (t *tracker) slot(seq uint64) *int64 { return &t.sent[seq&uint64(len(t.sent)-1)] }

// room is how many more requests may be sent now.
func (t *tracker) room(window int) int {
	return min(window-t.waiting, len(t.sent)-int(t.next-t.oldest))
}

// sending notes that the next n requests go out at now.
func (t *tracker) sending(n int, now time.Duration) {
	for range n {
		*t.slot(t.next) = int64(now)
		t.next++
	}
	t.waiting += n
}

// unsent takes back the last n requests noted: the socket refused them.
func (t *tracker) unsent(n int) {
	for range n {
		t.next--
		*t.slot(t.next) = answered
	}
	t.waiting -= n
}

// reply notes a reply to request seq.
func (t *tracker) reply(seq uint64) {
	if seq >= t.next {
		return // no request of ours
	}
	newest := &t.newest[seq%t.flows]
	switch state := t.state(seq); state {
	case answered:
		t.c.duplicates.Add(1)
		return
	case givenUp:
		t.c.late.Add(1)
	default:
		*t.slot(seq) = answered
		t.waiting--
		t.c.replies.Add(1)
	}
	if seq < *newest {
		t.c.outOfOrder.Add(1)
	} else {
		*newest = seq + 1
	}
}

// state is answered, givenUp, or the time at which the request was sent. What
// is too old to be remembered counts as answered.
func (t *tracker) state(seq uint64) int64 {
	if t.next-seq > uint64(len(t.sent)) {
		return answered
	}
	return *t.slot(seq)
}

// expire gives up the requests that have waited too long. Requests are sent in
// order, so the oldest is always the first.
func (t *tracker) expire(now time.Duration) {
	for t.oldest < t.next {
		s := t.slot(t.oldest)
		if *s >= 0 {
			if int64(now)-*s < t.timeout {
				return
			}
			*s = givenUp
			t.waiting--
			t.c.lost.Add(1)
		}
		t.oldest++
	}
}
