package ipq

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

// A judge compares the verdicts on one queue's packets with their plans, and
// counts what Stats should count. The kernel calls it under its lock.
type judge struct {
	s     *schedule
	cfg   *Config // with its defaults
	queue int
	last  []uint32 // number of the last packet decided, by flow
	want  Stats
	buf   []byte

	handled []atomic.Bool   // by number: the handler has, or had, the packet
	later   map[uint32]bool // numbers of deferred packets that were decided in time
	late    Stats           // what may have been counted as well, because handlers came too late

	by     cause // of the verdict that is being judged
	unsure bool  // it may as well be byTimeout, byDeferral or byEnd
	// Verdicts by cause, and those that may have one of three.
	droppedBy, passedBy         [causes]uint64
	droppedUnsure, passedUnsure uint64
}

func newJudge(s *schedule, cfg *Config, queue int) *judge {
	return &judge{
		s: s, cfg: cfg, queue: queue,
		last:    make([]uint32, s.flows),
		handled: make([]atomic.Bool, s.packets+1),
		later:   make(map[uint32]bool),
	}
}

// verdict is the one on the packet with that number.
func (j *judge) verdict(_, number uint32, got *fakekernel.Verdict) error {
	p := j.s.plan(j.queue, number)
	if err := j.order(&p); err != nil {
		return err
	}
	j.by, j.unsure = byHandler, false
	want, attrs, payload := j.expect(&p, got)
	j.countKind(want)
	j.countCause(want)
	if got.Verdict != want.kernel() {
		return fmt.Errorf("number %d: verdict %#x, want %v", number, got.Verdict, want)
	}
	if mark, ok := want.Mark(); ok {
		attrs |= zerocopy.HasMark
		if m, _ := got.U32(zerocopy.AttrMark); m != mark {
			return fmt.Errorf("number %d: mark %#x, want %#x", number, m, mark)
		}
	}
	if attrs&zerocopy.HasPriority != 0 {
		if prio, _ := got.U32(zerocopy.AttrPriority); prio != number {
			return fmt.Errorf("number %d: priority %d", number, prio)
		}
	}
	if payload != nil {
		attrs |= zerocopy.HasPayload
		if !bytes.Equal(got.Payload(), payload) {
			return fmt.Errorf("number %d: payload of %d bytes, want %d others", number, len(got.Payload()), len(payload))
		}
	}
	for bit, typ := range map[zerocopy.AttrSet]uint16{
		zerocopy.HasMark: zerocopy.AttrMark, zerocopy.HasPriority: zerocopy.AttrPriority, zerocopy.HasVLAN: zerocopy.AttrVLAN,
		zerocopy.HasCTMark: zerocopy.AttrCT, zerocopy.HasPayload: zerocopy.AttrPayload,
	} {
		if _, has := got.Attrs[typ]; has != (attrs&bit != 0) {
			return fmt.Errorf("number %d: attribute %d is there: %v", number, typ, has)
		}
	}
	return nil
}

// order reports a packet that overtook an earlier one of its flow.
func (j *judge) order(p *plan) error {
	switch {
	case p.undecodable(), p.damage == fakekernel.CutShort:
		return nil // its flow cannot be known
	case p.later != nil, j.excess(p), j.own(p):
		return nil // it is decided when it may
	}
	if last := j.last[p.flow]; last >= p.number {
		return fmt.Errorf("number %d of flow %d is decided after number %d", p.number, p.flow, last)
	}
	j.last[p.flow] = p.number
	return nil
}

// excess reports whether a packet was decided without the handler because the
// pool was saturated: there is no other reason for that, but a time-out.
func (j *judge) excess(p *plan) bool {
	return j.cfg.Workers != Inline && j.cfg.Overload != Wait && !j.handled[p.number].Load()
}

// own reports whether a packet passes because it is the product's own.
func (j *judge) own(p *plan) bool { return j.cfg.OwnMark == p.number }

// expect returns what the verdict should be, with its attributes but the mark
// and its payload, and counts how it came about.
func (j *judge) expect(p *plan, got *fakekernel.Verdict) (Verdict, zerocopy.AttrSet, []byte) {
	w := &j.want
	if p.undecodable() {
		w.Undecodable++
		j.by = byUndecodable
		return j.cfg.onUndecodable(), 0, nil
	}
	if p.truncated(j.cfg) {
		w.Truncated++
	}
	if j.own(p) {
		j.by = byOwn
		return Accept, 0, nil
	}
	mark, marked := got.U32(zerocopy.AttrMark)
	switch {
	case p.later != nil && marked && mark == laterMark+p.number:
		j.later[p.number] = true
		if p.act == exits && j.cfg.HandlerTimeout > 0 {
			j.late.Panics++ // not if the watchdog had taken over
		} else {
			j.countPanic(p)
		}
		return p.later.verdict, 0, j.editedLater(p)
	case j.cfg.HandlerTimeout > 0 && marked && mark == timeOutMark:
		j.timedOut(p)
		j.unsure = true
		return j.cfg.onTimeout(), 0, nil
	case !j.excess(p):
		v, attrs := j.decision(p)
		j.unsure = p.later != nil // its handler's verdict, or the same because its time was over
		return v, attrs, j.edited(p, v)
	case j.cfg.Overload == AcceptExcess:
		w.ExcessAccepted++
		j.by = byOverload
		return Accept, 0, nil
	default:
		w.ExcessDropped++
		j.by = byOverload
		return Drop, 0, nil
	}
}

// timedOut counts a packet that got OnTimeout. Its handler, if it had one, may
// have counted, too, and a deferred packet got it as what its handler stands
// for.
func (j *judge) timedOut(p *plan) {
	if p.later == nil {
		j.want.TimedOut++
	} else {
		j.late.TimedOut++
	}
	if p.act != returns {
		j.late.Panics++
	}
	if p.bypass {
		j.late.Bypassed++
		j.late.BypassFailed++
	}
}

func (j *judge) countPanic(p *plan) {
	if p.act != returns {
		j.want.Panics++
	}
}

// decision returns the verdict that the handler has led to, with the attributes
// that it adds, and counts how it came about.
func (j *judge) decision(p *plan) (Verdict, zerocopy.AttrSet) {
	w := &j.want
	j.countPanic(p)
	if p.act != returns {
		j.by = byPanic
		return j.cfg.onPanic(), 0
	}
	v := p.verdict
	if v&verdictReject != 0 {
		w.Rejects.Unknown++ // or why else nobody was told, or was
		v &^= verdictReject | verdictBoth
	}
	if p.bypass {
		v &^= verdictBypass
		switch code := v & verdictCode; {
		case j.cfg.Bypass == nil || code != Accept && code != Drop || p.number%3 == 0:
			w.BypassFailed++
		default:
			w.Bypassed++
			v = v.WithMark(p.number)
		}
	}
	if !v.valid() {
		w.InvalidVerdicts++
		v, j.by = Drop, byInvalid
	}
	return v, p.attrs
}

func (j *judge) countCause(v Verdict) {
	by, unsure := &j.passedBy, &j.passedUnsure
	if v&verdictCode == Drop {
		by, unsure = &j.droppedBy, &j.droppedUnsure
	}
	if j.unsure {
		*unsure++
	} else {
		by[j.by]++
	}
}

func (j *judge) countKind(v Verdict) {
	switch v & verdictCode {
	case Accept:
		j.want.Accepted++
	case Repeat:
		j.want.Repeated++
	case Stop:
		j.want.Stopped++
	case verdictQueue:
		j.want.Requeued++
	default:
		j.want.Dropped++
	}
}

// edited returns the payload that goes with the verdict, or nil.
func (j *judge) edited(p *plan, v Verdict) []byte {
	if v&verdictCode == Drop || p.undecodable() || p.act != returns || p.editError(j.cfg) != nil {
		return nil
	}
	switch p.edit {
	case sets:
		j.buf = p.payload(j.buf[:0], p.newSize, 1)
	case changes:
		j.buf = p.payload(j.buf[:0], p.size, 0)
		j.buf[len(j.buf)-1] ^= 0xff
	default:
		return nil
	}
	return j.finished()
}

// editedLater returns the payload that goes with a verdict given later, or nil.
func (j *judge) editedLater(p *plan) []byte {
	if p.later.verdict&verdictCode == Drop || p.later.newSize == 0 || p.laterEditError(j.cfg) != nil {
		return nil
	}
	j.buf = p.payload(j.buf[:0], p.later.newSize, 2)
	return j.finished()
}

// finished returns the payload in buf as it is sent.
func (j *judge) finished() []byte {
	j.want.Modified++
	if !j.cfg.KeepChecksums {
		if err := zerocopy.FixPacket(j.buf); err != nil {
			panic(err) // the plan is wrong
		}
	}
	return j.buf
}

// editError returns the error that the edit of the plan meets.
func (p *plan) editError(cfg *Config) error {
	switch {
	case p.edit == keeps:
		return nil
	case p.truncated(cfg):
		return ErrTruncated
	case p.flow%flowKinds == flowOther, p.edit == changes && cfg.Copy == CopyMeta:
		return ErrNotIP
	case p.gso: // of UDP
		return ErrGSO
	}
	return nil
}
