package stream

import (
	"fmt"
	"runtime"
	"testing"
	"time"
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

// BenchmarkUnderAttack has the engine decide segments of 64 honest connections and
// their acknowledgements, between bursts of packets of somebody else. honest-ns is what
// a segment and its acknowledgement take, without those. An operation is a round with
// one of each connection.
func BenchmarkUnderAttack(b *testing.B) {
	const (
		honest = 64
		places = 1 << 16
		burst  = 64
		size   = 1448
	)
	for _, attack := range []string{"none", "full", "syn", "gap"} {
		b.Run("attack="+attack, func(b *testing.B) {
			var n int
			l := newLab(b, Config{MaxConns: places, MaxMemory: 64 << 20, Open: func(*Conn) Inspector { return counter{&n} }})
			var data, acks [honest]segment
			for i := range honest {
				l.otherHandshake(i)
				k := l.key
				k.aPort = uint16(i)
				data[i] = segment{key: k, hash: k.hash(l.e.seed), flags: ack, seq: 1, ack: 1, window: 65535, data: make([]byte, size)}
				acks[i] = segment{key: k, hash: data[i].hash, flags: ack, seq: 1, window: 65535, way: 1}
			}
			for i := range places {
				switch attack {
				case "full": // of idle connections
					l.otherHandshake(honest + i)
				case "syn":
					l.other(honest+i, 0, syn, 0, 0, nil)
				case "gap": // until there is no memory for more
					if i < places/2 && l.otherHandshake(honest+i) {
						l.other(honest+i, 0, ack, 100, 1, []byte{1})
					}
				}
			}
			var took time.Duration
			flood := places
			runtime.GC() // of what New has reserved, not while it is measured
			for b.Loop() {
				for range burst {
					switch flood++; attack {
					case "syn":
						l.other(honest+flood%(1<<23), 0, syn, 0, 0, nil)
					case "gap":
						l.other(honest+flood%(places/2), 0, ack, 200+uint32(flood)%4096*2, 1, []byte{1})
					}
				}
				n = 0
				from := time.Now()
				for i := range honest {
					l.e.handle(&data[i])
					data[i].seq += size
					acks[i].ack = data[i].seq
					l.e.handle(&acks[i])
				}
				took += time.Since(from)
				if n != honest*size {
					b.Fatalf("%d bytes were inspected: %+v", n, l.e.Stats())
				}
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N*honest), "honest-ns")
		})
	}
}
