package ipq

import (
	"bytes"
	"fmt"

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
}

func newJudge(s *schedule, cfg *Config, queue int) *judge {
	return &judge{s: s, cfg: cfg, queue: queue, last: make([]uint32, s.flows)}
}

// verdict is the one on the packet with that number.
func (j *judge) verdict(_, number uint32, got *fakekernel.Verdict) error {
	p := j.s.plan(j.queue, number)
	if err := j.order(&p); err != nil {
		return err
	}
	want, attrs := j.decision(&p)
	j.countKind(want)
	payload := j.edited(&p, want)
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
	if p.undecodable() || p.damage == fakekernel.CutShort {
		return nil // its flow cannot be known
	}
	if last := j.last[p.flow]; last >= p.number {
		return fmt.Errorf("number %d of flow %d is decided after number %d", p.number, p.flow, last)
	}
	j.last[p.flow] = p.number
	return nil
}

// decision returns the verdict that the plan leads to, with the attributes that
// the handler adds, and counts how it came about.
func (j *judge) decision(p *plan) (Verdict, zerocopy.AttrSet) {
	w := &j.want
	if p.undecodable() {
		w.Undecodable++
		return j.cfg.onUndecodable(), 0
	}
	if p.truncated(j.cfg) {
		w.Truncated++
	}
	if p.act != returns {
		w.Panics++
		return j.cfg.OnPanic, 0
	}
	v := p.verdict
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
		v = Drop
	}
	return v, p.attrs
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
	case p.gso:
		return ErrGSO
	case p.flow%flowKinds == flowOther, p.edit == changes && cfg.Copy == CopyMeta:
		return ErrNotIP
	}
	return nil
}
