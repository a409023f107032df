package bypass

import (
	"testing"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// BenchmarkFlood floods loopback with echo requests, one process sending as
// fast as it can: with no rule, and with every flow settled. An operation is a
// packet; the difference is what a settled packet costs, netfilter included.
func BenchmarkFlood(b *testing.B) {
	for _, rule := range []string{"none", "settled", "queued"} {
		b.Run("rule="+rule, func(b *testing.B) {
			ns := labtest.New(b)
			if rule != "none" {
				by := newBypasser(b, ns, Config{Backend: EBPF})
				install(b, by, Rules{Hook: ipq.Output, Match: []Match{{EchoRequest: true}}})
				_, stop := serve(b, ns, by, ipq.Config{Workers: ipq.Inline}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict {
					if rule == "queued" {
						return ipq.Accept
					}
					return ipq.Accept.Bypass()
				}))
				defer stop()
				// The flows of the flood that counts, for none of which a socket
				// lives longer than its flood.
				runFlood(b, ns, flood.Config{Count: 256, Window: 1})
			}
			// Open loop: nothing waits for replies, which are made all the same.
			s := runFlood(b, ns, flood.Config{Count: uint64(b.N)})
			b.ReportMetric(float64(s.Elapsed.Nanoseconds())/float64(b.N), "ns/op")
			b.ReportMetric(float64(s.CPU.Nanoseconds())/float64(b.N), "cpu-ns/pkt")
			b.ReportMetric(float64(b.N)/s.Elapsed.Seconds(), "pps")
		})
	}
}

// BenchmarkForward sends TCP through a router, with GSO: with no rule, with
// each flow settled after ten packets, and with all packets queued. An
// operation is a megabyte.
func BenchmarkForward(b *testing.B) {
	for _, rule := range []string{"none", "settled", "queued"} {
		b.Run("rule="+rule, func(b *testing.B) {
			n := newNetwork(b)
			if rule != "none" {
				by := newBypasser(b, n.router, Config{Backend: EBPF})
				install(b, by, Rules{Hook: ipq.Forward, Match: []Match{{Protocol: protoTCP}}})
				var h ipq.Handler = ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept })
				if rule == "settled" {
					var err error
					if h, err = by.Inspect(h, Inspection{Packets: 10}); err != nil {
						b.Fatal(err)
					}
				}
				_, stop := serve(b, n.router, by, ipq.Config{GSO: true, Workers: ipq.Inline}, h)
				defer stop()
			}
			took := transfer(b, n, int64(b.N)<<20)
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/op")
			b.ReportMetric(float64(b.N)*(1<<20)*8/1e9/took.Seconds(), "Gbit/s")
		})
	}
}
