package bypass

import (
	"slices"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// The benchmarks here compare two paths side by side: an operation is a turn of
// each, first one and then the other, then the other way round, so that a
// machine that drifts does so for both. They report the median of the turns'
// ratios. Use -benchtime 40x or so.

// A turn is what one path took.
type turn struct{ elapsed, cpu time.Duration }

// pairs has bare and settled take b.N turns, and returns the turns.
func pairs(b *testing.B, bare, settled func() turn) (bares, settleds []turn) {
	take := []func(){
		func() { bares = append(bares, bare()) },
		func() { settleds = append(settleds, settled()) },
	}
	b.ResetTimer()
	for i := range b.N {
		take[i%2]()
		take[1-i%2]()
	}
	b.StopTimer()
	return bares, settleds
}

// median returns that of f over the pairs.
func median(bares, settleds []turn, f func(bare, settled turn) float64) float64 {
	var all []float64
	for i := range bares {
		all = append(all, f(bares[i], settleds[i]))
	}
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

// BenchmarkFlood floods loopback, one process sending as fast as it can: in a
// namespace without a queueing chain, and in one where all packets come to it
// and every flow is settled. The echo requests are answered by the kernel, and
// the answers bypassed, too, or are dropped as they arrive. It reports the rate
// as a share of the one without the chain, by the clock and by the CPU time of
// the sender, in which all of it happens, and what a bypassed packet costs more
// than without, netfilter included.
func BenchmarkFlood(b *testing.B) {
	b.Run("answered=true", func(b *testing.B) { benchmarkFlood(b, true) })
	b.Run("answered=false", func(b *testing.B) { benchmarkFlood(b, false) })
}

func benchmarkFlood(b *testing.B, answered bool) {
	const packets = 50_000
	bare, ns := labtest.New(b), labtest.New(b)
	perRequest := uint64(2)
	if !answered {
		perRequest = 1
		for _, ns := range []*netlab.NS{bare, ns} {
			if _, err := ns.InstallDrop(netlab.Input, 0, netlab.Match{EchoRequest: true}); err != nil {
				b.Fatal(err)
			}
		}
	}
	by := newBypasser(b, ns, Config{Backend: EBPF, Limits: Limits{Timeout: -1, Idle: -1}})
	install(b, by, Rules{Hook: ipq.Output})
	settle := ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() })
	_, stop := serve(b, ns, by, ipq.Config{Workers: ipq.Inline}, settle)
	// The flows of all floods: which process sends does not tell them apart.
	runFlood(b, ns, flood.Config{Rate: 10_000, Count: 1000})
	stop()
	in := func(ns *netlab.NS) func() turn {
		return func() turn {
			s := runFlood(b, ns, flood.Config{Count: packets})
			return turn{s.Elapsed, s.CPU}
		}
	}
	before := mustCount(b, by.Table())
	bares, settleds := pairs(b, in(bare), in(ns))
	want := perRequest * uint64(b.N) * packets
	if got := mustCount(b, by.Table()).less(before).AcceptedPackets; got != want {
		b.Errorf("the kernel accepted %d packets of %d", got, want)
	}
	b.ReportMetric(median(bares, settleds, func(bare, settled turn) float64 {
		return float64(bare.elapsed) / float64(settled.elapsed)
	}), "of-no-rule")
	b.ReportMetric(median(bares, settleds, func(bare, settled turn) float64 {
		return float64(bare.cpu) / float64(settled.cpu)
	}), "of-no-rule-by-CPU")
	b.ReportMetric(median(bares, settleds, func(bare, settled turn) float64 {
		return float64((settled.elapsed - bare.elapsed).Nanoseconds()) / float64(perRequest*packets)
	}), "added-ns/pkt")
	b.ReportMetric(median(bares, settleds, func(bare, _ turn) float64 {
		return float64(bare.elapsed.Nanoseconds()) / packets
	}), "no-rule-ns/request")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkForward sends TCP through a router, with GSO: without a rule, and
// with each flow settled after ten packets. It reports the throughput as a share
// of the one without a rule.
func BenchmarkForward(b *testing.B) {
	const size = 512 << 20
	bare, n := newNetwork(b), newNetwork(b)
	by := newBypasser(b, n.router, Config{Backend: EBPF})
	install(b, by, Rules{Hook: ipq.Forward, Match: []Match{{Protocol: protoTCP}}})
	h, err := by.Inspect(ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept }), Inspection{Packets: 10})
	if err != nil {
		b.Fatal(err)
	}
	q, stop := serve(b, n.router, by, ipq.Config{GSO: true, Workers: ipq.Inline}, h)
	over := func(n *network) func() turn {
		return func() turn { return turn{elapsed: transfer(b, n, size)} }
	}
	bares, settleds := pairs(b, over(bare), over(n))
	stop()
	b.ReportMetric(median(bares, settleds, func(bare, settled turn) float64 {
		return float64(bare.elapsed) / float64(settled.elapsed)
	}), "of-no-rule")
	b.ReportMetric(median(bares, settleds, func(bare, _ turn) float64 {
		return size * 8 / 1e9 / bare.elapsed.Seconds()
	}), "no-rule-Gbit/s")
	b.ReportMetric(float64(q.Stats().Received)/float64(b.N), "queued-pkts")
	b.ReportMetric(0, "ns/op")
}
