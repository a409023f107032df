package bench

import (
	"testing"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/bypass"
)

// BenchmarkBypass sends echo requests of flows that are settled, so that the
// kernel decides each by itself, and for comparison without any rule. An
// operation is a packet, and the CPU time the sender's, in which all of its way
// is. What the rule adds is the cost of the kernel's decision.
func BenchmarkBypass(b *testing.B) {
	b.Run("rule=none", func(b *testing.B) { benchUnqueued(b, labtest.New(b)) })
	b.Run("rule=settled", func(b *testing.B) {
		if !netlab.Privileged() {
			b.Skip("an ordinary user may not load eBPF programs")
		}
		ns := labtest.New(b)
		by, err := bypass.New(bypass.Config{NetNS: ns.FD(), Backend: bypass.EBPF})
		if err != nil {
			b.Fatal(err)
		}
		defer by.Close()
		if _, err := by.Install(bypass.Rules{
			Hook:  ipq.Output,
			Match: []bypass.Match{{EchoRequest: true}},
			Queue: pipelineQueue,
		}); err != nil {
			b.Fatal(err)
		}
		q, stop := serve(b, ns, ipq.Config{Workers: ipq.Inline, Bypass: by}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict {
			return ipq.Accept.Bypass()
		}))
		defer stop()
		// Each flow is settled by its first packet. They are the same in every
		// flood: an ICMP identifier and an address.
		const flows = 256
		answered(b, startFlood(b, ns, flood.Config{Count: flows, Flows: flows}), flows)
		settled := q.Stats().Received
		benchUnqueued(b, ns)
		if more := q.Stats().Received - settled; more > 0 {
			b.Fatalf("%d packets of settled flows were queued", more)
		}
	})
}

func benchUnqueued(b *testing.B, ns *netlab.NS) {
	n := uint64(b.N)
	f := startFlood(b, ns, flood.Config{Count: n})
	b.ResetTimer()
	sent := answered(b, f, n)
	b.StopTimer()
	reportPackets(b, n, sent.Elapsed, sent.CPU)
}
