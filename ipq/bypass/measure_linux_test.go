package bypass

import (
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/nfttable"
	"github.com/goipq/goipq/ipq"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The benchmarks here compare paths side by side: an operation is a turn of
// each, which begins with another one every time, so that a machine that drifts
// does so for all. They report the median of what the turns say. Use -benchtime
// 40x or so.

// A turn is what one path took: by the clock, which other processes disturb, and
// of the CPUs.
type turn struct{ elapsed, cpu time.Duration }

func byClock(t turn) float64 { return t.elapsed.Seconds() }
func byCPU(t turn) float64   { return t.cpu.Seconds() }

// inTurns has each path take b.N turns, and returns those of each.
func inTurns(b *testing.B, paths ...func() turn) [][]turn {
	turns := make([][]turn, len(paths))
	b.ResetTimer()
	for i := range b.N {
		for j := range paths {
			k := (i + j) % len(paths)
			turns[k] = append(turns[k], paths[k]())
		}
	}
	b.StopTimer()
	return turns
}

// report reports the median of the pairs' ratios, by the clock and by the CPUs.
func report(b *testing.B, bares, settleds []turn) {
	for unit, of := range map[string]func(turn) float64{"of-no-rule": byClock, "of-no-rule-by-CPU": byCPU} {
		var ratios []float64
		for i := range bares {
			ratios = append(ratios, of(bares[i])/of(settleds[i]))
		}
		b.ReportMetric(median(ratios), unit)
	}
	b.ReportMetric(0, "ns/op")
}

func median(all []float64) float64 {
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

// BenchmarkFlood floods loopback, one process sending as fast as it can: in a
// namespace without a queueing chain, and in one where all packets come to it
// and every flow is settled. The echo requests are answered by the kernel, and
// the answers bypassed, too, or are dropped as they arrive. It reports the rate
// as a share of the one without the chain, and what CPU time of the sender, in
// which all of it happens, a bypassed packet costs more than without, netfilter
// included; and how much of that the way to the program is: a chain without
// rules, and one with a program that does nothing.
func BenchmarkFlood(b *testing.B) {
	b.Run("answered=true", func(b *testing.B) { benchmarkFlood(b, true) })
	b.Run("answered=false", func(b *testing.B) { benchmarkFlood(b, false) })
}

func benchmarkFlood(b *testing.B, answered bool) {
	const packets = 50_000
	bare, chained, matched, settled := labtest.New(b), labtest.New(b), labtest.New(b), labtest.New(b)
	perRequest := uint64(2)
	if !answered {
		perRequest = 1
		for _, ns := range []*netlab.NS{bare, chained, matched, settled} {
			if _, err := ns.InstallDrop(netlab.Input, 0, netlab.Match{EchoRequest: true}); err != nil {
				b.Fatal(err)
			}
		}
	}
	addChain(b, chained)
	addChain(b, matched, program(returnOne(b), xtBPF), &expr.Verdict{Kind: expr.VerdictAccept})
	by := newBypasser(b, settled, Config{Backend: EBPF, Limits: Limits{Timeout: -1, Idle: -1}})
	install(b, by, Rules{Hook: ipq.Output})
	settle := ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() })
	_, stop := serve(b, settled, by, ipq.Config{Workers: ipq.Inline}, settle)
	// The flows of all floods: which process sends does not tell them apart.
	runFlood(b, settled, flood.Config{Rate: 10_000, Count: 1000})
	stop()
	var starts []float64 // of the sending process, without packets to speak of
	for range 9 {
		starts = append(starts, float64(runFlood(b, bare, flood.Config{Count: 1}).CPU))
	}
	start := time.Duration(median(starts))
	in := func(ns *netlab.NS) func() turn {
		return func() turn {
			s := runFlood(b, ns, flood.Config{Count: packets})
			return turn{s.Elapsed, s.CPU - start}
		}
	}
	before := mustCount(b, by.Table())
	turns := inTurns(b, in(bare), in(chained), in(matched), in(settled))
	want := perRequest * uint64(b.N) * packets
	if got := mustCount(b, by.Table()).less(before).AcceptedPackets; got != want {
		b.Errorf("the kernel accepted %d packets of %d", got, want)
	}
	for i, unit := range []string{"no-rule-ns/pkt", "chain-ns/pkt", "match-ns/pkt", "added-ns/pkt"} {
		var nanos []float64
		for j, t := range turns[i] {
			if i > 0 {
				t.cpu -= turns[0][j].cpu
			}
			nanos = append(nanos, float64(t.cpu.Nanoseconds())/float64(perRequest*packets))
		}
		b.ReportMetric(median(nanos), unit)
	}
	report(b, turns[0], turns[3])
}

// addChain adds a chain at Output, with a rule if there is what it consists of.
func addChain(b *testing.B, ns *netlab.NS, rule ...expr.Any) {
	b.Helper()
	chain := Rules{Hook: ipq.Output}.chain(chainBase, 0)
	if rule != nil {
		addRule(&chain, "rule", rule)
	}
	set := &Ruleset{netns: held(b, ns)}
	if err := set.keeper().Make(&nfttable.Table{Family: unix.NFPROTO_INET, Name: "way", Chains: []nfttable.Chain{chain}}); err != nil {
		b.Fatal(err)
	}
}

// returnOne is a program that is true of every packet.
func returnOne(b *testing.B) *ebpf.Program {
	b.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SocketFilter, License: "MIT", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	return p
}

// BenchmarkForward sends TCP through a router, with GSO: without a rule, and
// with each flow settled after ten packets. It reports the throughput as a share
// of the one without a rule.
func BenchmarkForward(b *testing.B) {
	const size = 512 << 20
	bare, n := labtest.NewNetwork(b), labtest.NewNetwork(b)
	by := newBypasser(b, n.Router, Config{Backend: EBPF})
	install(b, by, Rules{Hook: ipq.Forward, Match: []Match{{Protocol: protoTCP}}})
	h, err := by.Inspect(ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept }), Inspection{Packets: 10})
	if err != nil {
		b.Fatal(err)
	}
	q, stop := serve(b, n.Router, by, ipq.Config{GSO: true, Workers: ipq.Inline}, h)
	over := func(n *labtest.Network) func() turn {
		return func() turn {
			before := processCPU(b)
			took := transfer(b, n, size)
			return turn{took, processCPU(b) - before}
		}
	}
	turns := inTurns(b, over(bare), over(n))
	stop()
	b.ReportMetric(float64(q.Stats().Received)/float64(b.N), "queued-pkts")
	report(b, turns[0], turns[1])
}

// processCPU is the CPU time of this process, which sends and receives. The
// kernel forwards within its system calls, or in threads of its own that nobody
// is charged for.
func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
