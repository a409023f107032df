package ipq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/race"
	"github.com/goipq/goipq/internal/zerocopy"
)

// deferAll is a handler that defers every packet and hands it on.
func deferAll(t *testing.T, to chan<- *Deferred, fallback Verdict) HandlerFunc {
	return func(p *Packet) Verdict {
		d, err := p.Defer()
		if err != nil {
			t.Errorf("packet %d: %v", p.ID(), err)
			return fallback
		}
		to <- d
		return fallback
	}
}

// Deferred packets are decided later, in any order and from any goroutine, with
// all that a verdict can carry; their buffers are free meanwhile.
func TestDeferredPacketsAreDecidedLater(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const n = 40
		f := newFake(t)
		deferred := make(chan *Deferred, n)
		bypassed := make(chan Flow, n)
		cfg := Config{Workers: workers, Batches: 1, BatchSize: 2, DeferTimeout: time.Hour}
		cfg.Bypass = bypassFunc(func(p *Packet, v Verdict) (Verdict, error) { bypassed <- p.Flow(); return v, nil })
		q, stop := f.serve(cfg, deferAll(t, deferred, Repeat))
		for i := range n {
			f.queue(fakekernel.Packet{Payload: udp4(uint16(i), bytes.Repeat([]byte{byte(i)}, i)), Mark: uint32(i)})
		}
		var all []*Deferred
		for range n {
			all = append(all, <-deferred)
		}
		if w := f.Waiting(); w != n {
			t.Errorf("%d packets wait, want all %d", w, n)
		}
		long := udp4(1, bytes.Repeat([]byte("long"), 300))
		var deciders sync.WaitGroup
		for i := n - 1; i >= 0; i-- {
			deciders.Go(func() {
				d := all[i]
				p := d.Packet()
				if id := int(p.ID()); !bytes.Equal(p.Payload(), udp4(uint16(id-1), bytes.Repeat([]byte{byte(id - 1)}, id-1))) ||
					p.Mark() != uint32(id-1) || p.Flow().SrcPort != uint16(id-1) || p.Queue() != fakeNumber {
					t.Errorf("the copy of packet %d: payload %x, mark %d, flow %v", id, p.Payload(), p.Mark(), p.Flow())
				}
				var err error
				switch p.ID() % 4 {
				case 0:
					err = d.Verdict(Drop)
				case 1:
					err = d.Verdict(Accept.WithMark(p.ID()))
				case 2:
					if err := p.SetPayload(long); err != nil {
						t.Error(err)
					}
					err = d.Verdict(Accept)
				case 3:
					err = d.Verdict(Accept.Bypass())
				}
				if err != nil {
					t.Errorf("packet %d: %v", p.ID(), err)
				}
			})
		}
		deciders.Wait()
		for id := uint32(1); id <= n; id++ {
			v := f.verdict(id)
			mark := v.Attrs[zerocopy.AttrMark]
			if want := min(id%4, 1); v.Verdict != want || v.Batch || (mark != nil) != (id%4 == 1) || (v.Payload() != nil) != (id%4 == 2) {
				t.Errorf("packet %d: %+v", id, v)
			}
			if mark != nil && binary.BigEndian.Uint32(mark) != id || v.Payload() != nil && !bytes.Equal(v.Payload(), long) {
				t.Errorf("packet %d: mark %x, payload of %d bytes", id, mark, len(v.Payload()))
			}
		}
		for _, d := range all {
			if err := d.Verdict(Accept); !errors.Is(err, ErrDecided) {
				t.Errorf("a second verdict: %v", err)
			}
		}
		stop()
		f.check()
		if len(bypassed) != n/4 {
			t.Errorf("%d flows bypassed", len(bypassed))
		}
		if s := q.Stats(); s.Deferred != n || s.Verdicts != n || s.Received != n || s.DeferExpired != 0 || s.Dropped != n/4 || s.Modified != n/4 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// When nobody decides in time, what the handler returned is the verdict, and a
// later one does no harm.
func TestDeferredPacketsExpire(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const n = 150 // more than one write takes
		f := newFake(t)
		deferred := make(chan *Deferred, n)
		q, stop := f.serve(Config{Workers: workers, DeferTimeout: 5 * time.Millisecond}, func(p *Packet) Verdict {
			if err := p.SetPayload(udp4(9, []byte("edited"))); err != nil {
				t.Error(err)
			}
			p.SetPriority(7)
			v := Accept
			if p.ID()%2 == 0 {
				v = Requeue(3).WithMark(5).Bypass()
			}
			deferAll(t, deferred, 0)(p)
			return v
		})
		for range n {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		for id := uint32(1); id <= n; id++ {
			v := f.verdict(id)
			want := uint32(1)
			if id%2 == 0 {
				want = 3<<16 | 3
			}
			// Edits went with the copy, and so with nobody.
			if _, marked := v.Attrs[zerocopy.AttrMark]; v.Verdict != want || marked != (id%2 == 0) || v.Payload() != nil || v.Attrs[zerocopy.AttrPriority] != nil {
				t.Errorf("packet %d: %+v", id, v)
			}
		}
		for range n {
			d := <-deferred
			if !bytes.Contains(d.Packet().Payload(), []byte("edited")) {
				t.Errorf("the copy lacks the edit: %x", d.Packet().Payload())
			}
			for range 2 {
				if err := d.Verdict(Drop); !errors.Is(err, ErrExpired) {
					t.Errorf("a verdict too late: %v", err)
				}
			}
		}
		stop()
		f.check()
		if s := q.Stats(); s.DeferExpired != n || s.Deferred != n || s.Verdicts != n || s.BypassFailed != n/2 || s.Modified != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A packet can be decided, or its time be over, before its handler returns.
func TestDeferredWhileTheHandlerRuns(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		_, stop := f.serve(Config{Workers: workers, DeferTimeout: time.Millisecond}, func(p *Packet) Verdict {
			d, err := p.Defer()
			if err != nil {
				t.Error(err)
			}
			if p.ID()%2 == 1 {
				err := d.Verdict(Drop)
				if err != nil && !errors.Is(err, ErrExpired) { // on a slow machine
					t.Error(err)
				}
				if err == nil {
					f.verdict(p.ID())
				}
				return Accept
			}
			await(t, "the end of its time", d.expired)
			if err := d.Verdict(Drop); !errors.Is(err, ErrExpired) {
				t.Errorf("after its time: %v", err)
			}
			return Accept
		})
		for range 10 {
			id := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			if v := f.verdict(id); id%2 == 0 && v.Verdict != 1 {
				t.Errorf("packet %d: %+v", id, v)
			}
		}
		stop()
		f.check()
	})
}

// expired reports whether d's time is over.
func (d *Deferred) expired() bool {
	d.set.mu.Lock()
	defer d.set.mu.Unlock()
	return errors.Is(d.err, ErrExpired)
}

// The end of Run decides what is deferred, by what the handlers returned.
func TestEndDecidesDeferredPackets(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const n = 100
		f := newFake(t)
		deferred := make(chan *Deferred, n)
		q, stop := f.serve(Config{Workers: workers, DeferTimeout: time.Hour}, func(p *Packet) Verdict {
			deferAll(t, deferred, 0)(p)
			if p.ID() == n {
				panic("after Defer")
			}
			return Stop
		})
		for range n {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		var all []*Deferred
		for range n {
			all = append(all, <-deferred)
		}
		stop()
		for id := uint32(1); id <= n; id++ {
			if v := f.verdict(id); id < n && v.Verdict != 5 || id == n && v.Verdict != 0 {
				t.Errorf("packet %d: %+v", id, v)
			}
		}
		f.check()
		for i, close := range []func(){func() {}, func() { q.Close() }} {
			close()
			if err := all[i].Verdict(Accept); !errors.Is(err, ErrClosed) {
				t.Errorf("a verdict after the end: %v", err)
			}
		}
	})
}

// Whoever decides first wins, and the packet has one verdict.
func TestDeferredVerdictsRaceWithTheirTime(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const n = 2000
		f := newFake(t)
		var deciders sync.WaitGroup
		q, stop := f.serve(Config{Workers: workers, DeferTimeout: 300 * time.Microsecond}, func(p *Packet) Verdict {
			d, err := p.Defer()
			if err != nil {
				return Accept
			}
			late := time.Duration(p.ID()%7) * 100 * time.Microsecond
			for range 2 {
				deciders.Go(func() {
					time.Sleep(late) // what is tested is that this does not matter
					if err := d.Verdict(Drop); err != nil && !errors.Is(err, ErrDecided) && !errors.Is(err, ErrExpired) && !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
				})
			}
			return Accept
		})
		for i := range n {
			f.queue(fakekernel.Packet{Payload: udp4(uint16(i%50), nil)})
		}
		for id := range uint32(n) {
			f.verdict(id + 1)
		}
		stop()
		deciders.Wait()
		f.check()
		if s := q.Stats(); s.Verdicts != n || s.Received != n || s.Accepted+s.Dropped != n {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A packet that a handler has kept is not deferred once the handler has
// returned, and the caller's next packet is not deferred in its place.
func TestDeferAfterTheHandler(t *testing.T) {
	f := newFake(t)
	var kept atomic.Pointer[Packet]
	late := make(chan error, 1)
	_, stop := f.serve(Config{Workers: 1, BatchSize: 2}, func(p *Packet) Verdict {
		switch {
		case kept.CompareAndSwap(nil, p):
		case kept.Load() != p && len(late) == 0: // of the same batch, so that kept is not reused yet
			_, err := kept.Load().Defer()
			late <- err
		}
		return Accept
	})
	var id uint32
	for len(late) == 0 { // until two packets share a batch
		kept.Store(nil)
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		id = f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		f.verdict(id)
	}
	if err := <-late; !errors.Is(err, ErrDecided) && !race.Enabled { // which empties the packet
		t.Errorf("Defer after the handler's return: %v", err)
	}
	stop()
	f.check()
}

// Defer from another goroutine, at any moment, takes no packet's verdict away,
// and Run ends.
func TestDeferByWhoeverKeptThePacket(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector reports the misuse, which is what it is for")
	}
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers, BatchSize: 1, Batches: 1, DeferTimeout: 100 * time.Microsecond})
		kept := make(chan *Packet, 1)
		var deferred atomic.Uint64
		cancel, done := startRun(q, HandlerFunc(func(p *Packet) Verdict {
			select {
			case kept <- p:
			default:
			}
			// So that Defer comes before the return, with it, and after it.
			for range p.ID() % 4 {
				runtime.Gosched()
			}
			return Accept
		}))
		var misusers sync.WaitGroup
		for range 2 {
			misusers.Go(func() {
				for p := range kept {
					if _, err := p.Defer(); err == nil {
						deferred.Add(1)
					}
				}
			})
		}
		for i := 0; i < 2000 || deferred.Load() < 10; i++ {
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		}
		cancel()
		if err := endOf(t, done); err != nil {
			t.Errorf("Run: %v", err)
		}
		close(kept)
		misusers.Wait()
		f.check()
		if s := q.Stats(); s.Verdicts != s.Received || s.Deferred != deferred.Load() {
			t.Errorf("%d packets deferred, %d by Defer; %d verdicts on %d packets", s.Deferred, deferred.Load(), s.Verdicts, s.Received)
		}
	})
}

// Only a handler can defer its packet.
func TestDeferIsForHandlers(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	p, err := c.Read(0)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := p.Defer(); d != nil || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Defer with a Conn: %v", err)
	}
}

// Without a limit nothing expires, however late it is, but for the end of Run.
func TestDeferredWithoutLimit(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		deferred := make(chan *Deferred, 2)
		q, stop := f.serve(Config{Workers: workers, DeferTimeout: NoTimeout}, deferAll(t, deferred, Repeat))
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		f.queue(fakekernel.Packet{Payload: udp4(2, nil)})
		one, two := <-deferred, <-deferred
		first, second := one.Packet().ID(), two.Packet().ID()
		const century = 100 * 365 * 24 * time.Hour
		d := q.loops[0].deferrals
		d.expiry.Lock()
		d.expireSome(monotonic()+century, ErrExpired, byDeferral)
		d.expiry.Unlock()
		if err := one.Verdict(Accept); err != nil {
			t.Error(err)
		}
		stop()
		if err := two.Verdict(Accept); !errors.Is(err, ErrClosed) {
			t.Errorf("after Run: %v", err)
		}
		if a, b := f.verdict(first), f.verdict(second); a.Verdict != uint32(Accept) || b.Verdict != uint32(Repeat) {
			t.Errorf("verdicts %d and %d", a.Verdict, b.Verdict)
		}
		if n := q.Stats().DeferExpired; n != 1 { // that of the end
			t.Errorf("%d have expired", n)
		}
		f.check()
	})
}
