package ipq

import (
	"slices"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
)

// Verdicts leave in the order of their packets, also where some need messages
// of their own between runs of equal ones.
func TestVerdictsLeaveInOrder(t *testing.T) {
	give := []Verdict{Accept, Accept, Accept.WithMark(1), Accept, Accept, Drop, Accept.WithMark(2), Drop, Drop}
	want := map[int][]uint32{
		Inline: {2, 3, 5, 6, 7, 9}, // the last of each run
		2:      {1, 2, 3, 4, 5, 6, 7, 8, 9},
	}
	eachMode(t, func(t *testing.T, workers int) {
		q, far := bareQueue(t, Config{Workers: workers})
		if err := <-feed(t, far, len(give)); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- q.Run(t.Context(), HandlerFunc(func(p *Packet) Verdict { return give[p.ID()-1] })) }()
		if got := writtenIDs(t, far, len(want[workers])); !slices.Equal(got, want[workers]) {
			t.Errorf("written: %v, want %v", got, want[workers])
		}
		q.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// FlushAfter counts from the oldest verdict that waits: after a write it begins
// anew.
func TestFlushAfterBeginsAnewWithEachWrite(t *testing.T) {
	f := newFake(t)
	const n = 6
	// A batch in which time passes as the handlers say, by shifting the moment
	// from which it is counted.
	old := map[uint32]bool{2: true, 5: true}
	q := f.open(Config{Workers: Inline, FlushAfter: time.Hour})
	start := monotonic()
	for range n {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	done := make(chan error, 1)
	go func() {
		done <- q.Run(t.Context(), HandlerFunc(func(p *Packet) Verdict {
			w := q.loops[0].to.(*inline).w
			if w.since < start {
				t.Errorf("packet %d: time counts from %v, before the batch", p.ID(), w.since)
			}
			if old[p.ID()] {
				w.since -= 2 * time.Hour
			}
			return Accept
		}))
	}()
	for i, want := range []int{1, 1, 2, 2, 2, 3} {
		if v := f.verdict(uint32(i + 1)); v.Write != want {
			t.Errorf("packet %d was decided in write %d, want %d", i+1, v.Write, want)
		}
	}
	q.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := q.Stats(); s.Writes != 3 || s.Verdicts != n {
		t.Errorf("stats: %+v", s)
	}
}
