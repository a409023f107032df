package ipq

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

// A countingBypasser settles every flow.
type countingBypasser struct{ calls int }

func (b *countingBypasser) Bypass(_ *Packet, v Verdict) (Verdict, error) {
	b.calls++
	return v, nil
}

// With Config.Observe everything passes as it came, and the counts are those of the
// same traffic without it.
func TestObserve(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		enforced, observed := observeRun(t, workers, false), observeRun(t, workers, true)
		for what, pair := range map[string][2]any{
			"DroppedBy": {enforced.DroppedBy, observed.DroppedBy},
			"PassedBy":  {enforced.PassedBy, observed.PassedBy},
			"kinds": {
				[5]uint64{enforced.Accepted, enforced.Dropped, enforced.Repeated, enforced.Stopped, enforced.Requeued},
				[5]uint64{observed.Accepted, observed.Dropped, observed.Repeated, observed.Stopped, observed.Requeued},
			},
			"what handlers do": {
				[7]uint64{enforced.Modified, enforced.Panics, enforced.InvalidVerdicts, enforced.TimedOut, enforced.Deferred, enforced.DeferExpired, enforced.Bypassed},
				[7]uint64{observed.Modified, observed.Panics, observed.InvalidVerdicts, observed.TimedOut, observed.Deferred, observed.DeferExpired, observed.Bypassed},
			},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %+v, observed %+v", what, pair[0], pair[1])
			}
		}
		if d := observed.DroppedBy; d.Handler == 0 || d.Panic == 0 || d.Timeout == 0 || d.Deferral == 0 || d.Undecodable == 0 || d.Invalid == 0 {
			t.Errorf("not everything has happened: %+v", d)
		}
	})
}

// observeRun sends one packet after the other to a handler that does everything, and
// checks what becomes of them.
func observeRun(t *testing.T, workers int, observe bool) Stats {
	t.Helper()
	const (
		tooLong = 9
		expires = 10
		later   = 11
		broken  = 12
		acts    = 13
	)
	f := newFake(t)
	settles := new(countingBypasser)
	decided := make(chan struct{})
	q := f.open(Config{
		Workers: workers, Observe: observe, HandlerTimeout: time.Hour, DeferTimeout: time.Hour, Bypass: settles,
	})
	var hours atomic.Int64
	var slow atomic.Bool
	q.clock = func() time.Duration {
		if slow.Load() {
			return time.Duration(hours.Add(2)) * time.Hour
		}
		return 0
	}
	stop := f.run(q, func(p *Packet) Verdict {
		switch p.Mark() {
		case 0:
			return Drop
		case 1:
			return Drop.Bypass()
		case 2:
			return Accept.WithMark(7)
		case 3:
			return Requeue(9)
		case 4:
			return Stop
		case 5:
			return Verdict(2)
		case 6:
			panic("on purpose")
		case 7:
			b, err := p.EditPayload()
			if err != nil {
				t.Error(err)
				return Drop
			}
			b[len(b)-1] ^= 0xff
			return Accept
		case 8:
			p.SetPriority(3)
			return Repeat
		case tooLong:
			slow.Store(true)
			<-decided
			return Accept
		case expires:
			if _, err := p.Defer(); err != nil {
				t.Error(err)
			}
			return Drop
		case later:
			d, err := p.Defer()
			if err == nil {
				err = d.Verdict(Accept)
			}
			if err != nil {
				t.Error(err)
			}
		}
		return Accept
	})
	for act := range uint32(acts) {
		packet := fakekernel.Packet{Mark: act, Payload: udp4(uint16(act), []byte("text"))}
		if act == broken {
			packet.Damage = fakekernel.LongAttr
		}
		id := f.queue(packet)
		if act == expires {
			await(t, "the packet to be deferred", func() bool { return q.Stats().Deferred == 1 })
			for d := q.loops[0].deferrals; d.expireSome(forever, ErrExpired, byDeferral); {
			}
		}
		v := f.verdict(id)
		if act == tooLong {
			slow.Store(false)
			close(decided)
			await(t, "the handler to return", func() bool { return q.Stats().Stuck == 0 })
		}
		if observe && (v.Verdict != uint32(Accept) || len(v.Attrs) != 0) {
			t.Errorf("act %d: %+v, with %d attributes", act, v, len(v.Attrs))
		}
		if _, has := v.Attrs[zerocopy.AttrPayload]; act == 7 && has == observe {
			t.Errorf("the edited payload is sent on: %v", has)
		}
	}
	stop()
	f.check()
	if observe != (settles.calls == 0) {
		t.Errorf("observing: %v; %d flows were settled", observe, settles.calls)
	}
	return q.Stats()
}
