package bench

import (
	"fmt"
	"testing"

	"github.com/goipq/goipq/internal/zerocopy"
)

// sink keeps the compiler from leaving out what nobody reads.
var sink uint64

func BenchmarkDecode(b *testing.B) {
	msg := packetMessage(udp4(64))
	var m zerocopy.Message
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Decode(msg); err != nil {
			b.Fatal(err)
		}
	}
	if m.ID() != 256 || m.Queue() != 7 || m.InDev() != 2 || len(m.Payload()) != 64 {
		b.Fatalf("decoded id %d, queue %d, device %d, %d bytes", m.ID(), m.Queue(), m.InDev(), len(m.Payload()))
	}
}

func BenchmarkEncode(b *testing.B) {
	buf := make([]byte, zerocopy.MaxVerdictLen)
	attrs := func(a zerocopy.VerdictAttrs) func(uint32) int {
		return func(id uint32) int { return zerocopy.PutVerdictAttrs(buf, 7, id, 1, &a) }
	}
	for _, v := range []struct {
		name string
		put  func(id uint32) int
	}{
		{"plain", func(id uint32) int { return zerocopy.PutVerdict(buf, 7, id, 1) }},
		{"batch", func(id uint32) int { return zerocopy.PutVerdictBatch(buf, 7, id, 1) }},
		{"mark", attrs(zerocopy.VerdictAttrs{Has: zerocopy.HasMark, Mark: 42})},
		{"payload", attrs(zerocopy.VerdictAttrs{Has: zerocopy.HasPayload, PayloadLen: 1400})},
		{"all", attrs(zerocopy.VerdictAttrs{
			Has:        zerocopy.HasMark | zerocopy.HasPriority | zerocopy.HasVLAN | zerocopy.HasCTMark | zerocopy.HasPayload,
			PayloadLen: 1400,
		})},
	} {
		b.Run("verdict="+v.name, func(b *testing.B) {
			b.ReportAllocs()
			id, size := uint32(0), 0
			for b.Loop() {
				id++
				size = v.put(id)
			}
			if h, ok := zerocopy.ParseHeader(buf[:size]); !ok || h.Seq != id {
				b.Fatalf("wrote %+v for packet %d", h, id)
			}
		})
	}
}

func BenchmarkFlowHash(b *testing.B) {
	for _, p := range []struct {
		name string
		ip   []byte
	}{{"4", udp4(64)}, {"6", udp6(64)}} {
		b.Run("ip="+p.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink += zerocopy.HashFlow(p.ip, 0x9e3779b97f4a7c15)
			}
		})
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, size := range []int{64, 576, 1500, 9000} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			buf := udp4(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				sink += uint64(zerocopy.Checksum(buf))
			}
		})
	}
}
