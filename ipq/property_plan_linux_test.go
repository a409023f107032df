package ipq

import (
	"encoding/binary"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

// A plan is all that is to happen to one packet. It follows from the schedule's
// seed and the packet's number, so whoever queues the packet, handles it and
// judges its verdict makes the same plan, and they share nothing.
type plan struct {
	number  uint32 // from 1, in the order of the queue; it travels as the mark
	flow    int
	size    int // of the payload, before the kernel cuts it
	damage  fakekernel.Damage
	gso     bool
	capLen  uint32 // cut before it was queued
	bypass  bool
	verdict Verdict // of the handler, perhaps one that does not exist
	act     action
	edit    edit
	newSize int // of the payload that edit sets
	attrs   zerocopy.AttrSet
	pause   time.Duration // in the handler
	stalls  bool          // the handler does not return in time
	later   *later        // the packet is deferred
}

// An action is how a handler ends.
type action uint8

const (
	returns action = iota
	panics
	exits // by runtime.Goexit
)

// An edit is what a handler does to the payload.
type edit uint8

const (
	keeps edit = iota
	sets
	changes // in place
)

// A dice is a sequence of random numbers that a seed and a packet's number
// choose: splitmix64.
type dice uint64

func newDice(seed uint64, number uint32) dice {
	return dice(seed + uint64(number)*0x9e3779b97f4a7c15)
}

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in [0, n).
func (d *dice) below(n int) int { return int(d.next() >> 32 * uint64(n) >> 32) }

// one reports true once in n times.
func (d *dice) one(n int) bool { return d.below(n) == 0 }

// plan makes the plan for a packet of queue q.
func (s *schedule) plan(q int, number uint32) plan {
	d := newDice(s.seed+uint64(q), number)
	p := plan{number: number, flow: d.below(s.flows), verdict: s.usual, size: minSize + d.below(100)}
	if d.below(256) >= s.odd {
		return p
	}
	p.verdict = [...]Verdict{Drop, Accept, Repeat, Stop, Requeue(uint16(number)), RequeueBypass(uint16(number)), Accept, Accept, Reject, RejectBoth}[d.below(10)]
	switch d.below(16) {
	case 0:
		p.verdict = Verdict(2) // NF_STOLEN
	case 1:
		p.verdict = Verdict(77).WithMark(1)
	case 2, 3, 4:
		p.verdict = p.verdict.WithMark(uint32(d.next()))
	case 5:
		p.bypass = true
		p.verdict = p.verdict.Bypass()
	}
	switch d.below(12) {
	case 0:
		p.act = panics
	case 1:
		if s.exits {
			p.act = exits
		}
	}
	switch d.below(8) {
	case 0:
		p.edit, p.newSize = sets, minSize+d.below(1400)
		if d.one(20) {
			p.newSize = minSize + d.below(maxPlanned-minSize)
		}
	case 1:
		p.edit = changes
	}
	if d.one(6) {
		p.attrs = zerocopy.AttrSet(d.next()) & (zerocopy.HasPriority | zerocopy.HasVLAN | zerocopy.HasCTMark)
	}
	switch d.below(20) {
	case 0:
		p.size = minSize + d.below(1500-minSize)
	case 1:
		p.size = minSize + d.below(maxPlanned-minSize)
	case 2:
		p.gso = true
	case 3:
		p.capLen = 70_000
	case 4:
		if s.damage {
			p.damage = fakekernel.Damage(1 + d.below(int(fakekernel.NoHeader)))
		}
	}
	if d.one(4) {
		p.pause = time.Duration(d.below(int(s.slow) + 1))
	}
	if s.cfg.HandlerTimeout > 0 && d.one(s.stuck) {
		p.stalls, p.pause = true, 2*s.cfg.HandlerTimeout
	}
	if d.below(100) < s.defers {
		p.defers(&d, s)
	}
	return p
}

const (
	minSize    = 20 + 8 + 4 + 20 // room for the headers of either family, and the number
	maxPlanned = 65_000
)

// Flows of a schedule, by their number: three in five are IPv4, one is IPv6,
// one no IP.
const (
	flowIPv6  = 3
	flowOther = 4
	flowKinds = 5
)

// payload appends the payload of that size that p has, with right checksums, or
// is given by the handler, without, when the tag is not 0.
func (p *plan) payload(b []byte, size int, tag byte) []byte {
	b = append(b, make([]byte, size)...) // compiled to a growth without the copy
	ip := b[len(b)-size:]
	data := ip[28:]
	switch p.flow % flowKinds {
	case flowOther:
		copy(ip, "\x00\x01\x08\x00\x06\x04\x00\x01") // ARP
	case flowIPv6:
		ip[0], ip[6], ip[7], ip[8], ip[24] = 0x60, protoUDP, 64, 0x20, 0x20
		binary.BigEndian.PutUint16(ip[4:], uint16(size-40))
		binary.BigEndian.PutUint16(ip[40:], uint16(p.flow))
		binary.BigEndian.PutUint16(ip[44:], uint16(size-40))
		data = ip[48:]
	default:
		ip[0], ip[8], ip[9], ip[12], ip[16] = 0x45, 64, protoUDP, 192, 192
		binary.BigEndian.PutUint16(ip[2:], uint16(size))
		binary.BigEndian.PutUint16(ip[20:], uint16(p.flow))
		binary.BigEndian.PutUint16(ip[24:], uint16(size-20))
	}
	binary.BigEndian.PutUint32(data, p.number)
	for i := 4; i < len(data); i += 64 {
		data[i] = byte(p.number) + byte(i>>6) + tag
	}
	if tag == 0 && p.flow%flowKinds != flowOther {
		if err := zerocopy.FixPacket(ip); err != nil {
			panic(err) // the plan is wrong
		}
	}
	return b
}

func (p *plan) etherType() uint16 {
	return [flowKinds]uint16{0x0800, 0x0800, 0x0800, 0x86dd, 0x0806}[p.flow%flowKinds]
}

// packet fills in the packet that is queued, with its payload in buf.
func (p *plan) packet(to *fakekernel.Packet, buf []byte) []byte {
	buf = p.payload(buf[:0], p.size, 0)
	*to = fakekernel.Packet{
		Protocol: p.etherType(), Hook: uint8(Forward), Mark: p.number,
		CapLen: p.capLen, Payload: buf, Damage: p.damage,
	}
	if p.gso {
		to.SkbInfo = zerocopy.SkbGSO
	}
	return buf
}

// undecodable reports whether the engine will know no more than the id.
func (p *plan) undecodable() bool {
	switch p.damage {
	case fakekernel.ShortAttr, fakekernel.LongAttr, fakekernel.ZeroAttr:
		return true
	}
	return false
}

// truncated reports whether the handler sees a part of the packet only.
func (p *plan) truncated(cfg *Config) bool {
	if cfg.Copy == CopyMeta {
		return p.capLen != 0
	}
	return p.capLen != 0 || p.damage == fakekernel.CutShort || p.size > cfg.SnapLen
}
