package stream

import (
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// BenchmarkKernelTransfer compares the time that a connection takes by an Engine whose
// Inspector counts with that by a handler that accepts, over the same path and queue, in
// turns: the ratio of the two throughputs is "of-accept", its median, least and most.
// Give it ten turns or more: -benchtime 12x.
func BenchmarkKernelTransfer(b *testing.B) {
	for _, c := range []struct {
		name      string
		size      int
		disturbed bool
	}{{"clean", 512 << 20, false}, {"disturbed", 24 << 20, true}} {
		b.Run(c.name, func(b *testing.B) {
			n := labtest.NewNetwork(b)
			e, err := New(Config{MaxConns: 1000, Open: func(*Conn) Inspector { return counter{new(int)} }})
			if err != nil {
				b.Fatal(err)
			}
			cfg := ipq.Config{Queue: 3, Queues: 2, Workers: ipq.Inline, GSO: true, MaxQueueLen: 4096}
			queueTCP(b, n, cfg)
			q, stop := serveQueues(b, n, cfg, nil)
			defer stop()
			if c.disturbed {
				disturb(b, n)
			}
			handlers := []ipq.Handler{e, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept })}
			var ratios []float64
			for i := 0; b.Loop(); i++ {
				var took [2]time.Duration
				for j := range handlers {
					k := (i + j) % 2
					if err := q.SetHandler(handlers[k]); err != nil {
						b.Fatal(err)
					}
					client, server := pair(b, n, false)
					began := time.Now()
					go func() {
						buf := make([]byte, 1<<20)
						for range c.size / len(buf) {
							client.Write(buf)
						}
						client.(*net.TCPConn).CloseWrite()
					}()
					if got, err := io.Copy(io.Discard, server); err != nil || got != int64(c.size) {
						b.Fatalf("%d bytes have come, %v", got, err)
					}
					took[k] = time.Since(began)
					client.Close()
					server.Close()
				}
				ratios = append(ratios, took[1].Seconds()/took[0].Seconds())
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "of-accept")
			b.ReportMetric(ratios[0], "of-accept-least")
			b.ReportMetric(ratios[len(ratios)-1], "of-accept-most")
			b.SetBytes(int64(2 * c.size))
			b.Logf("%+v", e.Stats())
		})
	}
}
