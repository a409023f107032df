package ipq

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
)

// A replaceable is a handler that must not run once it is retired.
type replaceable struct {
	t       *testing.T
	mark    uint32
	calls   atomic.Uint64
	retired atomic.Bool
}

func (h *replaceable) HandlePacket(p *Packet) Verdict {
	if h.retired.Load() {
		h.t.Errorf("handler %d is called after it was replaced", h.mark)
	}
	h.calls.Add(1)
	p.Flow()
	if h.retired.Load() {
		h.t.Errorf("handler %d is running after it was replaced", h.mark)
	}
	return Accept.WithMark(h.mark)
}

// Handlers are replaced while packets come: none of a former handler runs on, and no
// packet is lost.
func TestSetHandlerWhilePacketsCome(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers, BatchSize: 4})
		h := &replaceable{t: t, mark: 1}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- q.Run(ctx, h) }()
		all := make(chan uint64)
		stop := make(chan struct{})
		go func() {
			var last uint32
			for n := uint64(0); ; n++ {
				select {
				case <-stop:
					all <- n
					return
				default:
				}
				if id, err := f.Queue(fakekernel.Packet{Payload: udp4(uint16(n), nil)}); err == nil {
					last = id
				} else {
					n-- // the socket is full: wait for what it holds
					if _, err := f.awaitVerdict(last); err != nil {
						t.Error(err)
						all <- n
						return
					}
				}
			}
		}()
		calls, handlers := uint64(0), uint32(0)
		for range 100 {
			former := h
			if !eventuallyCalled(t, former) {
				break
			}
			h = &replaceable{t: t, mark: former.mark + 1}
			if err := q.SetHandler(h); err != nil {
				t.Fatal(err)
			}
			former.retired.Store(true)
			calls += former.calls.Load()
			handlers++
		}
		close(stop)
		sent := <-all
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		f.check()
		if calls += h.calls.Load(); calls != sent || handlers != 100 {
			t.Errorf("%d handlers have had %d packets of %d", handlers, calls, sent)
		}
	})
}

func eventuallyCalled(t *testing.T, h *replaceable) bool {
	t.Helper()
	await(t, "a call of the handler", func() bool { return h.calls.Load() > 0 })
	return !t.Failed()
}

// SetHandler waits for the call that is running, also when its packet was decided
// because it takes too long.
func TestSetHandlerWaitsForCalls(t *testing.T) {
	for _, limit := range []time.Duration{0, time.Millisecond} {
		eachMode(t, func(t *testing.T, workers int) {
			f := newFake(t)
			called, release := make(chan struct{}), make(chan struct{})
			var returned atomic.Bool
			q, stop := f.serve(Config{Workers: workers, HandlerTimeout: limit}, func(*Packet) Verdict {
				close(called)
				<-release
				returned.Store(true)
				return Accept
			})
			id := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			<-called
			if limit > 0 {
				f.verdict(id)
			}
			done := make(chan error, 1)
			go func() {
				err := q.SetHandler(HandlerFunc(accept))
				if !returned.Load() {
					t.Error("SetHandler has returned before the former handler")
				}
				done <- err
			}()
			await(t, "SetHandler to wait", q.awaits)
			close(release)
			if err := <-done; err != nil {
				t.Error(err)
			}
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
			stop()
			f.check()
		})
	}
}

// awaits reports whether somebody waits for a call.
func (q *Queue) awaits() bool {
	for _, l := range q.loops {
		for _, c := range l.to.callers() {
			if c.state.Load()&awaited != 0 {
				return true
			}
		}
	}
	return false
}

// A handler may replace itself: it does not wait for itself.
func TestHandlerMayReplaceItself(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		stop := f.run(q, func(*Packet) Verdict {
			if err := q.SetHandler(HandlerFunc(func(*Packet) Verdict { return Accept.WithMark(2) })); err != nil {
				t.Error(err)
			}
			return Drop
		})
		for want := range uint32(2) {
			if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); v.Verdict != want {
				t.Errorf("packet %d: %+v", want+1, v)
			}
		}
		stop()
	})
}

// Before there is a handler packets get Config.BeforeHandler.
func TestBeforeHandler(t *testing.T) {
	for _, x := range []struct {
		cfg  Config
		want uint32
	}{
		{Config{}, 0}, {Config{FailOpen: true}, 1},
		{Config{FailOpen: true, BeforeHandler: Always(Drop)}, 0}, {Config{BeforeHandler: Always(Requeue(9))}, 9<<16 | 3},
	} {
		eachMode(t, func(t *testing.T, workers int) {
			f := newFake(t)
			x.cfg.Workers = workers
			q := f.open(x.cfg)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- q.Run(ctx, nil) }()
			for range 3 {
				if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); v.Verdict != x.want {
					t.Errorf("%v: %+v, want %#x", x.cfg.BeforeHandler, v, x.want)
				}
			}
			if err := q.SetHandler(HandlerFunc(func(*Packet) Verdict { return Stop })); err != nil {
				t.Error(err)
			}
			if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); v.Verdict != 5 {
				t.Errorf("with a handler: %+v", v)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			s := q.Stats()
			if n := s.DroppedBy.NoHandler + s.PassedBy.NoHandler; n != 3 || s.Stopped != 1 {
				t.Errorf("%d packets had no handler; %+v", n, s.Counts)
			}
		})
	}
}

// Whoever is too late, or brings nothing, is told so.
func TestSetHandlerErrors(t *testing.T) {
	f := newFake(t)
	called, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	q := f.open(Config{Workers: 1, DrainTimeout: time.Millisecond})
	if err := q.SetHandler(nil); err == nil {
		t.Error("a nil handler")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- q.Run(ctx, HandlerFunc(func(*Packet) Verdict {
			close(called)
			<-release
			return Accept
		}))
	}()
	f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	<-called
	replaced := make(chan error, 1)
	go func() { replaced <- q.SetHandler(HandlerFunc(accept)) }()
	await(t, "SetHandler to wait", q.awaits)
	cancel()
	if err := <-done; !errors.Is(err, ErrStuck) {
		t.Errorf("Run: %v", err)
	}
	if err := <-replaced; !errors.Is(err, ErrStuck) {
		t.Errorf("SetHandler for a call that does not return: %v", err)
	}
	if err := q.SetHandler(HandlerFunc(accept)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Run: %v", err)
	}
}

// A needy handler says whether it needs whole packets.
type needy struct {
	Handler
	needs bool
}

func (h needy) NeedsWholePackets() bool { return h.needs }

// A handler that needs whole packets does not get parts of them: Run and SetHandler say
// which field leaves something out.
func TestHandlersThatNeedWholePackets(t *testing.T) {
	for _, c := range []struct {
		cfg   Config
		field string // "": packets are whole
	}{
		{Config{}, ""}, {Config{SnapLen: 65535}, ""}, {Config{SnapLen: 1500}, "Config.SnapLen is 1500"}, {Config{Copy: CopyMeta}, "Config.Copy is CopyMeta"},
	} {
		for _, needs := range []bool{false, true} {
			f := newFake(t)
			c.cfg.Workers = Inline
			q := f.open(c.cfg)
			wrong := func(op string, err error) {
				t.Helper()
				if !needs || c.field == "" {
					if err != nil {
						t.Errorf("%+v, needs %v: %v", c.cfg, needs, err)
					}
					return
				}
				var e *OpError
				if !errors.Is(err, ErrConfig) || !errors.As(err, &e) || e.Op != op || !strings.Contains(err.Error(), c.field) {
					t.Errorf("%s: %v, want %q", op, err, c.field)
				}
			}
			h := needy{HandlerFunc(func(*Packet) Verdict { return Accept.WithMark(2) }), needs}
			wrong("handler", q.SetHandler(h))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			wrong("run", q.Run(ctx, h))
		}
	}
	// A handler that does not suit leaves the former one at work.
	f := newFake(t)
	q, stop := f.serve(Config{Workers: Inline, SnapLen: 100}, accept)
	if err := q.SetHandler(needy{HandlerFunc(func(*Packet) Verdict { return Drop }), true}); !errors.Is(err, ErrConfig) {
		t.Errorf("%v", err)
	}
	if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); v.Verdict != 1 {
		t.Errorf("%+v", v)
	}
	stop()
	f.check()
}
