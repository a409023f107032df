package bypass

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/internal/nfttable"
	"github.com/goipq/goipq/ipq"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// BenchmarkSets floods loopback with UDP of 256 flows, all of which are settled, side
// by side: without a chain, with a look-up in a set of nft's alone, and with the
// backends. The packets are dropped as they arrive. It reports what CPU time of the
// sender, in which all of it happens, a packet costs more than without a chain, with
// the spread, and the rate as a share of that without.
func BenchmarkSets(b *testing.B) {
	const packets = 50_000
	type path struct {
		name string
		ns   *netlab.NS
	}
	var paths []path
	add := func(name string) *netlab.NS {
		ns := labtest.New(b)
		if _, err := ns.InstallDrop(netlab.Input, 0, netlab.Match{L4Proto: unix.IPPROTO_UDP}); err != nil {
			b.Fatal(err)
		}
		// All floods have the source port of the one that settles their flows.
		if err := ns.Sysctl("net.ipv4.ip_local_port_range", "40000 40000"); err != nil {
			b.Fatal(err)
		}
		paths = append(paths, path{name, ns})
		return ns
	}
	add("none")
	addBareSet(b, add("set"))
	later := add("set+chain")
	addChain(b, later)
	addBareSet(b, later)
	settle := ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() })
	backend := func(name string, cfg Config) *Ruleset {
		ns := add(name)
		by := newBypasser(b, ns, cfg)
		set := install(b, by, Rules{Hook: ipq.Output})
		_, stop := serve(b, ns, by, ipq.Config{Workers: ipq.Inline}, settle)
		runFlood(b, ns, flood.Config{UDP: true, Rate: 10_000, Count: 1000})
		stop()
		return set
	}
	rulesets := []*Ruleset{
		backend("NFTSet", Config{Backend: NFTSet, Limits: Limits{Timeout: time.Hour, Idle: -1}}),
		backend("NFTSet-idle", Config{Backend: NFTSet, Limits: Limits{Timeout: time.Hour, Idle: time.Minute}}),
	}
	if netlab.Privileged() {
		rulesets = append(rulesets, backend("EBPF", Config{Backend: EBPF, Limits: Limits{Timeout: time.Hour, Idle: -1}}))
	}
	accepted := func(s *Ruleset) uint64 {
		c, err := s.Counters()
		if err != nil {
			b.Fatal(err)
		}
		return c.Accepted.Packets
	}
	var before []uint64
	for _, s := range rulesets {
		before = append(before, accepted(s))
	}
	var starts []float64 // of the sending process, without packets to speak of
	for range 9 {
		starts = append(starts, float64(runFlood(b, paths[0].ns, flood.Config{UDP: true, Count: 1}).CPU))
	}
	start := time.Duration(median(starts))
	var floods []func() turn
	for _, p := range paths {
		floods = append(floods, func() turn {
			s := runFlood(b, p.ns, flood.Config{UDP: true, Count: packets})
			return turn{s.Elapsed, s.CPU - start}
		})
	}
	turns := inTurns(b, floods...)
	for i, s := range rulesets {
		if got, want := accepted(s)-before[i], uint64(b.N)*packets; got != want {
			b.Errorf("%s: the kernel accepted %d packets of %d", paths[i+3].name, got, want)
		}
	}
	for i, p := range paths {
		var nanos, cpu, clock []float64
		for j, t := range turns[i] {
			none := turns[0][j]
			if i > 0 {
				nanos = append(nanos, float64((t.cpu-none.cpu).Nanoseconds())/packets)
			} else {
				nanos = append(nanos, float64(t.cpu.Nanoseconds())/packets)
			}
			cpu = append(cpu, none.cpu.Seconds()/t.cpu.Seconds())
			clock = append(clock, none.elapsed.Seconds()/t.elapsed.Seconds())
		}
		b.ReportMetric(median(nanos), p.name+"-ns/pkt")
		if b.N == 1 { // the first of its runs: package testing shows ten lines in all
			continue
		}
		b.Logf("%-12s %4.0f ns (%.0f to %.0f), rate %.2f by CPU, %.2f by the clock",
			p.name, median(nanos), slices.Min(nanos), slices.Max(nanos), median(cpu), median(clock))
	}
	b.ReportMetric(0, "ns/op")
}

// addBareSet adds a chain at Output that looks packets up in a set of nft's, as nft
// has it look, and adds those that it does not find.
func addBareSet(b *testing.B, ns *netlab.NS) {
	b.Helper()
	network := func(offset, size, to uint32) expr.Any {
		return &expr.Payload{DestRegister: unix.NFT_REG32_00 + to, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}
	}
	port := func(offset, to uint32) expr.Any {
		return &expr.Payload{DestRegister: unix.NFT_REG32_00 + to, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2}
	}
	load := slices.Concat(nftexpr.Family(familyIPv4), []expr.Any{network(12, 4, 0), network(16, 4, 1), network(9, 1, 2), port(0, 3), port(2, 4)})
	chain := Rules{Hook: ipq.Output}.chain(chainBase, -1)
	addRule(&chain, "rule", load, []expr.Any{nftexpr.LoadedIn("flows"), &expr.Verdict{Kind: expr.VerdictAccept}})
	addRule(&chain, "rule", load, []expr.Any{nftexpr.Keep("flows", time.Hour)})
	set := nfttable.Set{Name: "flows", What: "flows", Room: 2 * DefaultSize,
		Values: []nftconn.SetType{nftconn.IPv4, nftconn.IPv4, nftconn.Protocol, nftconn.Port, nftconn.Port}}
	rules := &Ruleset{netns: held(b, ns), bypasser: &Bypasser{cfg: Config{Logger: slog.New(slog.DiscardHandler)}}}
	table := &nfttable.Table{Family: unix.NFPROTO_INET, Name: "bare", Sets: []nfttable.Set{set}, Chains: []nfttable.Chain{chain}}
	if err := rules.keeper().Make(table); err != nil {
		b.Fatal(err)
	}
}
