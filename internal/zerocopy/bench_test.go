package zerocopy

import (
	"fmt"
	"slices"
	"testing"
)

var sink uint64 // keeps the compiler from dropping what a benchmark computes

// The packet path must not allocate: what the collector never sees, it never
// pauses for.
func TestNoAllocations(t *testing.T) {
	full, nest := fullMessage(make([]byte, 64)), conntrackNest()
	v4, v6 := ipv4(protoTCP, 0, nil, segment(protoTCP, 64)), ipv6(0, ext(protoUDP, 0), segment(protoUDP, 64))
	tagged := slices.Concat([]byte{0, 1, 0x86, 0xdd}, v6)
	ack := make([]byte, 36)
	copy(ack, message(TypeError, 0, 0, make([]byte, 16)))
	buf := make([]byte, MaxVerdictLen)
	var m Message
	var c Conntrack
	var k FlowKey
	attrs := VerdictAttrs{Has: HasMark | HasPriority | HasVLAN | HasCTMark | HasPayload, PayloadLen: 9}
	for name, f := range map[string]func(){
		"Decode":             func() { _ = m.Decode(full) },
		"Decode, cut":        func() { _ = m.Decode(full[:50]) },
		"Decode, malformed":  func() { _ = m.Decode(full[:8]) },
		"accessors":          func() { _ = m.Decode(full); m.VLAN(); m.Timestamp(); m.SecCtx(); m.Payload() },
		"Conntrack.Decode":   func() { _ = c.Decode(nest) },
		"DecodeError":        func() { _, _ = DecodeError(ack) },
		"NextMessage":        func() { NextMessage(full) },
		"PutVerdict":         func() { PutVerdict(buf, 1, 2, 3) },
		"PutVerdictBatch":    func() { PutVerdictBatch(buf, 1, 2, 3) },
		"PutVerdictAttrs":    func() { PutVerdictAttrs(buf, 1, 2, 3, &attrs) },
		"FixPacket, IPv4":    func() { _ = FixPacket(v4) },
		"FixPacket, IPv6":    func() { _ = FixPacket(v6) },
		"VerifyPacket":       func() { VerifyPacket(v4) },
		"FlowKey.Parse/Hash": func() { k.Parse(v6); sink += k.Hash(1) },
		"HashFlow":           func() { sink += HashFlow(v4, 1) + HashFlow(v6, 1) },
		"Network":            func() { Network(etherVLAN, tagged) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, bb := range []struct {
		name string
		msg  []byte
	}{
		{"typical", typicalMessage(make([]byte, 64))},
		{"every attribute", fullMessage(make([]byte, 64))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			var m Message
			for b.Loop() {
				if m.Decode(bb.msg) != nil {
					b.Fatal("not decoded")
				}
			}
		})
	}
}

func BenchmarkConntrackDecode(b *testing.B) {
	b.ReportAllocs()
	nest := conntrackNest()
	var c Conntrack
	for b.Loop() {
		if c.Decode(nest) != nil {
			b.Fatal("not decoded")
		}
	}
}

func BenchmarkPutVerdict(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, VerdictLen)
	id := uint32(0)
	for b.Loop() {
		PutVerdict(buf, 1, id, 1)
		id++
	}
}

func BenchmarkPutVerdictAttrs(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, MaxVerdictLen)
	attrs := VerdictAttrs{Has: HasMark, Mark: 5}
	for b.Loop() {
		PutVerdictAttrs(buf, 1, 2, 1, &attrs)
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{20, 64, 576, 1500, 9000} {
		buf := segment(protoUDP, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				sink += uint64(Checksum(buf))
			}
		})
	}
}

func BenchmarkFixPacket(b *testing.B) {
	pkt := ipv4(protoTCP, 0, nil, segment(protoTCP, 1480))
	b.ReportAllocs()
	for b.Loop() {
		if FixPacket(pkt) != nil {
			b.Fatal("not fixed")
		}
	}
}

func BenchmarkHashFlow(b *testing.B) {
	for _, bb := range []struct {
		name string
		pkt  []byte
	}{
		{"IPv4", sized(ipv4(protoTCP, 0, nil, l4(40000, 443)))},
		{"IPv6", sized(ipv6(protoTCP, l4(40000, 443)))},
		{"IPv6 with extensions", sized(ipv6(0, ext(60, 0), ext(protoTCP, 0), l4(40000, 443)))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink += HashFlow(bb.pkt, 0x9e3779b97f4a7c15)
			}
		})
	}
}
