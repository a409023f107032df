package ipq

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
)

// While all batches are in flight, what comes is decided by the policy, without
// the handler; those in flight are handled as ever.
func TestExcessIsDecidedWithoutTheHandler(t *testing.T) {
	for _, policy := range []Overload{AcceptExcess, DropExcess} {
		const batches, excess = 3, 50
		f := newFake(t)
		release := make(chan struct{})
		unblock := sync.OnceFunc(func() { close(release) })
		q, stop := f.serve(Config{Workers: 2, Batches: batches, BatchSize: 1, Overload: policy}, func(p *Packet) Verdict {
			<-release
			return Repeat
		})
		t.Cleanup(unblock)
		for i := range batches {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			await(t, "the packet to be taken", func() bool { return q.Stats().Received == uint64(i+1) })
		}
		others := otherFlows(1, excess/2)
		for i := range excess {
			port := uint16(1) // of the flow that waits, and of others
			if i%2 == 1 {
				port = others[i/2]
			}
			want := uint32(0)
			if policy == AcceptExcess {
				want = 1
			}
			if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(port, nil)})); v.Verdict != want || v.Batch {
				t.Errorf("%v: %+v", policy, v)
			}
		}
		unblock()
		stop()
		for id := range uint32(batches) {
			if v := f.verdict(id + 1); v.Verdict != 4 {
				t.Errorf("%v: packet %d was not handled: %+v", policy, id+1, v)
			}
		}
		f.check()
		s := q.Stats()
		accepted, dropped, overtook := uint64(excess), uint64(0), uint64(excess/2)
		if policy == DropExcess {
			accepted, dropped, overtook = 0, excess, 0
		}
		if s.ExcessAccepted != accepted || s.ExcessDropped != dropped || s.Overtook != overtook || s.Waits != 0 || s.Verdicts != batches+excess {
			t.Errorf("%v: stats %+v", policy, s)
		}
	}
}

// What cannot work together is refused when the queue is opened.
func TestConfigOfOverloadAndTimeOuts(t *testing.T) {
	for what, cfg := range map[string]Config{
		"Overload":       {Workers: Inline, Overload: DropExcess},
		"Overload ":      {Overload: 3},
		"Batches":        {Workers: 4, Batches: 8, HandlerTimeout: 1},
		"HandlerTimeout": {HandlerTimeout: -1}, "DrainTimeout": {DrainTimeout: -1}, "DeferTimeout": {DeferTimeout: -1},
		"MaxDeferred": {MaxDeferred: -1}, "OnTimeout": {OnTimeout: 2}, "OnPanic": {OnPanic: Drop.Bypass()},
	} {
		if _, err := cfg.withDefaults(); err == nil || !strings.Contains(err.Error(), "Config."+strings.TrimSpace(what)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A handler may close its queue, also while others do: nobody waits for it, and
// everything is released when Run returns.
func TestHandlerMayClose(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for _, others := range []int{0, 3} {
			before, fds := goroutines(), descriptors(t)
			f := newFake(t)
			q := f.open(Config{Workers: workers})
			for range 5 { // before Run, which the first of them ends
				f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			}
			var closers sync.WaitGroup
			done := make(chan error, 1)
			go func() {
				done <- q.Run(context.Background(), HandlerFunc(func(p *Packet) Verdict {
					if p.ID() == 1 {
						for range others {
							closers.Go(func() {
								if err := q.Close(); err != nil {
									t.Error(err)
								}
							})
						}
						if others > 0 {
							await(t, "another Close to begin", q.loops[0].stopping.Load)
						}
						for range 2 {
							if err := q.Close(); err != nil {
								t.Error(err)
							}
						}
					}
					return Accept
				}))
			}()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
			closers.Wait()
			for id := range uint32(5) {
				if v := f.verdict(id + 1); v.Verdict != 1 {
					t.Errorf("packet %d: %+v", id+1, v)
				}
			}
			f.check()
			if err := q.Run(t.Context(), accept); !errors.Is(err, ErrClosed) {
				t.Errorf("Run after Close: %v", err)
			}
			// Without another call of Close.
			f.Close()
			settle(t, "goroutines", before, goroutines)
			settle(t, "descriptors", fds, func() int { return descriptors(t) })
		}
	})
}
