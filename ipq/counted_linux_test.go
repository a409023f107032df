package ipq

import (
	"context"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

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
		want := [batchClasses]uint64{0: 1, 1: 1, 4: 2}
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

func TestTruncatedPacketsAreCounted(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict {
			if want := p.ID() == 2; p.Truncated() != want || want && p.Len() != 1500 {
				t.Errorf("packet %d: truncated %v, length %d", p.ID(), p.Truncated(), p.Len())
			}
			return Accept
		})
		whole := udp4(1, make([]byte, 1500-28))
		for _, p := range []fakekernel.Packet{{Payload: whole}, {Payload: whole[:28], CapLen: 1500}, {Payload: whole}} {
			f.verdict(f.queue(p))
		}
		stop()
		if s := q.Stats(); s.Truncated != 1 || s.Received != 3 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A message that is longer than any that the kernel should send is cut by the
// socket, and counts as truncated: there is a part of the packet to decide by.
func TestMessagesCutByTheSocketAreTruncated(t *testing.T) {
	f := newFake(t)
	q, stop := f.serve(Config{Workers: Inline, SnapLen: 100}, func(p *Packet) Verdict {
		if !p.Truncated() || len(p.Payload()) == 0 || p.SetPayload(udp4(1, nil)) != ErrTruncated {
			t.Errorf("truncated %v, %d bytes", p.Truncated(), len(p.Payload()))
		}
		return Accept
	})
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, make([]byte, zerocopy.MaxOverhead+100))}))
	stop()
	if s := q.Stats(); s.Truncated != 1 || s.Undecodable != 0 {
		t.Errorf("stats: %+v", s)
	}
}

// Handlers' times are learned: strands are not taken for slow for ever.
func TestQuickHandlersAreFoundOut(t *testing.T) {
	f := newFake(t)
	q, stop := f.serve(Config{Workers: 2}, accept)
	strands := q.loops[0].to.(*pool).strands
	await(t, "a strand known to be quick", func() bool {
		f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		return min(strands[0].cost.Load(), strands[1].cost.Load()) < int64(initialCost)/2
	})
	stop()
}
