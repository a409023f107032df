package ipq

import (
	"bytes"
	"context"
	"fmt"
	"runtime/trace"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// When all buffers are in use the receiver waits, and takes no more packets.
func TestBatchesBoundPacketsInFlight(t *testing.T) {
	const batches, size = 2, 3
	f := newFake(t)
	release := make(chan struct{})
	q, stop := f.serve(Config{Workers: 2, Batches: batches, BatchSize: size}, func(p *Packet) Verdict {
		<-release
		return Accept
	})
	for i := range 20 {
		f.queue(fakekernel.Packet{Payload: udp4(uint16(i), nil)})
	}
	await(t, "the receiver's wait for a batch", func() bool { return q.Stats().Waits == 1 })
	if n := q.Stats().Received; n > batches*size {
		t.Errorf("%d packets in flight, more than %d batches of %d", n, batches, size)
	}
	close(release)
	f.verdict(20)
	stop()
	f.check()
	if s := q.Stats(); s.Waits == 0 || s.Received != 20 || s.Verdicts != 20 {
		t.Errorf("stats: %+v", s)
	}
}

// After a full batch the receiver looks again before it parks: all that came
// meanwhile woke it once.
func TestFullBatchesAreFollowedUp(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for _, size := range []int{1, 2} {
			f := newFake(t)
			started, release := make(chan struct{}), make(chan struct{})
			_, stop := f.serve(Config{Workers: workers, Batches: 1, BatchSize: size}, func(p *Packet) Verdict {
				if p.ID() == 1 {
					close(started)
					<-release
				}
				return Accept
			})
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			<-started
			for range 20 {
				f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			}
			close(release)
			f.verdict(21)
			stop()
			f.check()
		}
	})
}

// Batches are counted by size: 35 packets that wait are two full batches of 16
// and one of 3; one that comes alone is a batch of 1.
func TestBatchesAreCountedBySize(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers, BatchSize: 16})
		for range 35 {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- q.Run(ctx, accept) }()
		f.verdict(35)
		f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.check()
		want := [batchClasses]uint64{0: 1, 2: 1, 4: 2}
		if s := q.Stats(); s.BatchSizes != want || s.Batches != 4 {
			t.Errorf("%d batches of sizes %v, want %v", s.Batches, s.BatchSizes, want)
		}
	})
}

// A batch without a packet in it goes back to the receiver.
func TestBatchesWithoutPacketsAreUsedAgain(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q, stop := f.serve(Config{Workers: workers, Batches: 1, BatchSize: 1}, accept)
		for range 3 {
			for range 5 {
				if err := f.Send(fakekernel.ErrorMessage(0, zerocopy.TypeConfig, 1)); err != nil {
					t.Fatal(err)
				}
			}
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		}
		stop()
		f.check()
		if s := q.Stats(); s.Batches != 18 || s.OtherMessages != 15 || s.Received != 3 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// With BusyPoll packets are found without a park, and a stop is heeded all the
// same.
func TestBusyPollDoesNotPark(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q, stop := f.serve(Config{Workers: workers, BusyPoll: time.Hour}, accept)
		for range 20 {
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		}
		if n := q.Stats().Parks; n != 0 {
			t.Errorf("%d parks", n)
		}
		stop()
		f.check()
	})
}

// A stop while the loop looks for packets is no park.
func TestStopDuringBusyPollIsNoPark(t *testing.T) {
	f := newFake(t)
	q, stop := f.serve(Config{Workers: Inline, BusyPoll: time.Hour}, accept)
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
	stop()
	if n := q.Stats().Parks; n != 0 {
		t.Errorf("%d parks", n)
	}
}

// When BusyPoll is over, and without it at once, the loop parks, and packets
// wake it.
func TestIdleLoopParks(t *testing.T) {
	for _, busy := range []time.Duration{0, time.Nanosecond, time.Millisecond} {
		f := newFake(t)
		q, stop := f.serve(Config{Workers: Inline, BusyPoll: busy}, accept)
		parks := func() uint64 { return q.Stats().Parks }
		for range 3 {
			before := parks()
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
			await(t, "a park", func() bool { return parks() > before })
		}
		stop()
		if s := q.Stats(); s.Parks < 3 || s.Waits != 0 {
			t.Errorf("BusyPoll %v: %d parks, %d waits", busy, s.Parks, s.Waits)
		}
	}
}

// What one system call does without telling the scheduler is bounded: batches
// up to ring.RawLimit are raw calls, with no more verdicts in a write than
// that; larger ones are not raw.
func TestRawCallsAreBounded(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for _, size := range []int{1, ring.RawLimit, ring.RawLimit + 1} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				want := size > ring.RawLimit
				var told [2]bool
				// A thread that is preempted during a raw call is in the
				// trace, too: on a busy machine many a time, but not always.
				for range 1000 {
					told = callsTold(t, workers, size)
					if told == [2]bool{want, want} {
						return
					}
				}
				t.Errorf("the scheduler was told of Recv: %v, of Send: %v; want %v", told[0], told[1], want)
			})
		}
	})
}

// callsTold runs a queue with batches of that size and reports of which of the
// two system calls the scheduler was told, by the stacks in the execution trace.
func callsTold(t *testing.T, workers, size int) (told [2]bool) {
	var out bytes.Buffer
	if err := trace.Start(&out); err != nil {
		t.Skip(err) // go test -trace
	}
	defer trace.Stop()
	f := newFake(t)
	const n = 4 * ring.RawLimit
	for range n {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	_, stop := f.serve(Config{Workers: workers, BatchSize: size}, func(p *Packet) Verdict {
		return Accept.WithMark(1) // a message for each
	})
	perWrite := map[int]int{}
	for id := range uint32(n) {
		perWrite[f.verdict(id+1).Write]++
	}
	stop()
	trace.Stop()
	for w, n := range perWrite {
		if n > size {
			t.Errorf("write %d had %d verdicts, more than a batch of %d", w, n, size)
		}
	}
	for i, call := range []string{"ring.(*Batch).Recv", "ring.(*Gather).Send"} {
		told[i] = bytes.Contains(out.Bytes(), []byte(call))
	}
	return told
}
