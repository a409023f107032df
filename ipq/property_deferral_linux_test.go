package ipq

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// A later is what is to happen to a packet that is deferred.
type later struct {
	verdict Verdict       // tells by its mark that it came so
	after   time.Duration // since it was deferred
	newSize int           // of the payload that goes with it; 0: none
}

// laterMark tells verdicts on deferred packets from others, together with the
// packet's number.
const laterMark = 0xdef00000

// defers has the packet deferred. It is not edited by its handler: what is
// edited before goes with one verdict and not with the other.
func (p *plan) defers(d *dice, s *schedule) {
	p.later = &later{
		verdict: [...]Verdict{Accept, Repeat, Stop, Drop}[d.below(4)].WithMark(laterMark + p.number),
		after:   time.Duration(d.below(int(3 * time.Millisecond))),
	}
	p.edit, p.attrs, p.bypass = keeps, 0, false
	if p.verdict.valid() {
		p.verdict &^= verdictBypass
	} else {
		p.verdict = Drop
	}
	if d.one(3) && p.flow%flowKinds != flowOther {
		p.later.newSize = minSize + d.below(1400)
	}
}

// deferPlan is what a handling does with packets that are deferred.
type deferPlan struct {
	later sync.WaitGroup // verdicts to come

	mu      sync.Mutex
	told    map[packetName]error // by the call of Verdict
	refused uint64               // ErrTooManyDeferred
}

type packetName struct {
	queue  int
	number uint32
}

// putOff defers the packet, if that is possible, and has it decided later, twice.
func (h *handling) putOff(p *Packet, plan *plan) {
	queue := int(p.Queue() - h.cfg.Queue)
	d, err := p.Defer()
	h.deferPlan.mu.Lock()
	defer h.deferPlan.mu.Unlock()
	switch {
	case errors.Is(err, ErrTooManyDeferred):
		h.refused++
		return
	case errors.Is(err, ErrExpired) && h.cfg.HandlerTimeout > 0, errors.Is(err, ErrClosed):
		return
	case err != nil:
		h.complain(fmt.Errorf("number %d: Defer: %w", plan.number, err))
		return
	}
	if _, err := p.Defer(); !errors.Is(err, ErrDeferred) && !errors.Is(err, ErrExpired) {
		h.complain(fmt.Errorf("number %d: second Defer: %v", plan.number, err))
	}
	number, later := plan.number, *plan.later
	h.later.Add(1)
	time.AfterFunc(later.after, func() {
		defer h.later.Done()
		h.decideLater(d, queue, number, later)
	})
}

func (h *handling) decideLater(d *Deferred, queue int, number uint32, later later) {
	if later.newSize > 0 {
		plan := h.s.plan(queue, number)
		var room [2048]byte
		err := d.Packet().SetPayload(plan.payload(room[:0], later.newSize, 2))
		if want := plan.laterEditError(h.cfg); !errors.Is(err, want) {
			h.complain(fmt.Errorf("number %d: edit of a deferred packet: %v, want %v", number, err, want))
		}
	}
	told := d.Verdict(later.verdict)
	again := d.Verdict(Accept)
	if told == nil && !errors.Is(again, ErrDecided) || told != nil && again != told {
		h.complain(fmt.Errorf("number %d: verdicts on a deferred packet: %v, then %v", number, told, again))
	}
	h.deferPlan.mu.Lock()
	defer h.deferPlan.mu.Unlock()
	if h.told == nil {
		h.told = make(map[packetName]error)
	}
	h.told[packetName{queue, number}] = told
}

// check compares what those who decided deferred packets were told with what
// the kernel got.
func (h *deferPlan) check(judges []*judge, s Stats) error {
	var decided uint64
	for name, told := range h.told {
		switch got := judges[name.queue].later[name.number]; {
		case told == nil && got:
			decided++
		case told == nil:
			return fmt.Errorf("queue %d, number %d: Verdict returned nil, and did nothing", name.queue, name.number)
		case !errors.Is(told, ErrExpired) && !errors.Is(told, ErrClosed):
			return fmt.Errorf("queue %d, number %d: %w", name.queue, name.number, told)
		case got:
			return fmt.Errorf("queue %d, number %d: Verdict took effect, and returned %w", name.queue, name.number, told)
		}
	}
	deferred := uint64(len(h.told))
	if s.Deferred != deferred || s.DeferExpired != deferred-decided || s.DeferRefused != h.refused {
		return fmt.Errorf("%d deferred, of which %d were decided, %d refused; Stats has %d, %d expired, %d",
			deferred, decided, h.refused, s.Deferred, s.DeferExpired, s.DeferRefused)
	}
	return nil
}

// laterEditError returns the error that the edit of a deferred packet meets.
func (p *plan) laterEditError(cfg *Config) error {
	q := *p
	q.edit = sets
	return q.editError(cfg)
}
