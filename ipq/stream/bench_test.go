package stream

import (
	"fmt"
	"testing"
)

// BenchmarkInOrder has the engine decide a segment that is next in order, and its
// acknowledgement, by an Inspector that counts: what the engine itself costs.
func BenchmarkInOrder(b *testing.B) {
	for _, size := range []int{64, 1448, 65160} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			var n int
			l := newLab(b, Config{Open: func(*Conn) Inspector { return counter{&n} }})
			l.handshake()
			s := segment{key: l.key, hash: l.key.hash(l.e.seed), flags: ack, ack: serverISN + 1, window: 65535, data: make([]byte, size)}
			a := segment{key: l.key, hash: s.hash, flags: ack, seq: serverISN + 1, window: 65535, way: 1}
			s.seq = l.seq(0)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				l.e.handle(&s)
				s.seq += uint32(size)
				a.ack = s.seq
				l.e.handle(&a)
			}
			if n != b.N*size {
				b.Fatalf("%d of %d bytes were inspected", n, b.N*size)
			}
		})
	}
}
