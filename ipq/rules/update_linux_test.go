package rules

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// A loop sends datagrams that wait in queues 0 to 3 of a namespace while
// something is done, and asserts that each of them arrives.
type loop struct {
	*path
	held   chan *ipq.Deferred
	rounds int
}

const inLoop = 12 // datagrams in a round

func newLoop(t testing.TB, ns *netlab.NS) *loop {
	l := &loop{path: newPath(t, ns), held: make(chan *ipq.Deferred, 500)}
	serve(t, ns, 0, 4, func(p *ipq.Packet) ipq.Verdict {
		if d, err := p.Defer(); err != nil {
			t.Errorf("defer: %v", err)
		} else {
			l.held <- d
		}
		return ipq.Drop
	})
	return l
}

// round has datagrams wait while f is done. Each may then come to a queue as often
// again as again says, since new chains were put before the one that it waited at.
func (l *loop) round(again int, f func()) {
	l.t.Helper()
	l.rounds++
	var wanted, got []string
	for i := range inLoop {
		wanted = append(wanted, fmt.Sprintf("%d %d", l.rounds, i))
		l.send(wanted[i])
	}
	waiting := make([]*ipq.Deferred, inLoop)
	for i := range waiting {
		waiting[i] = <-l.held
	}
	f()
	for _, d := range waiting {
		if err := d.Verdict(ipq.Accept); err != nil {
			l.t.Errorf("round %d: %v", l.rounds, err)
		}
	}
	for range again * inLoop {
		if err := (<-l.held).Verdict(ipq.Accept); err != nil {
			l.t.Errorf("round %d: %v", l.rounds, err)
		}
	}
	for range inLoop {
		got = append(got, l.receive())
	}
	slices.Sort(got)
	slices.Sort(wanted)
	if !slices.Equal(got, wanted) {
		l.t.Fatalf("round %d: %q arrived", l.rounds, got)
	}
}

// udpToQueue is a rule that queues what a loop sends.
func udpToQueue(q Queue) Rule {
	return Rule{Match: Match{Protocol: protocolUDP, DstPorts: []PortRange{{udpPort, udpPort}}}, Queue: &q}
}

// variant returns a Set that queues what a loop sends, and is different otherwise.
func variant(rng *rand.Rand) Set {
	q := Queue{First: uint16(rng.IntN(2)), Count: 1 + rng.IntN(3), Bypass: rng.IntN(2) == 0, Spread: Spread(rng.IntN(3))}
	rule := udpToQueue(q)
	var list []string
	for range rng.IntN(40) {
		list = append(list, fmt.Sprintf("10.%d.%d.0/%d", rng.IntN(256), rng.IntN(256), 16+rng.IntN(17)))
	}
	all, _ := ParseAddrs(list...)
	rule.Not.SrcAddrs = all
	if rng.IntN(2) == 0 {
		rule.Match.CTState = New | Established
	}
	if rng.IntN(3) == 0 {
		rule.Match.DstAddrs, _ = ParseAddrs("127.0.0.0/8", "::1")
	}
	other := Rule{Match: Match{Protocol: 6, DstPorts: []PortRange{{uint16(rng.IntN(9)), 9}, {80, 80}}}, Action: Drop}
	rules := []Rule{{Comment: "first"}, other, rule, {Match: Match{Mark: Mark{1, 3}}, SetMark: Mark{2, 2}}}
	if rng.IntN(2) == 0 {
		rules = slices.Delete(rules, 0, 2)
	}
	s := one(ipq.Output, rules...)
	if rng.IntN(2) == 0 { // behind, so that it may come and go
		s.Chains = append(s.Chains, Chain{Hook: ipq.Output, Priority: 10, Rules: []Rule{{}}})
	}
	s.Defrag = rng.IntN(4) == 0
	if rng.IntN(2) == 0 {
		s.OwnMark = uint32(1 + rng.IntN(3))
	}
	return s
}

// Hundreds of updates of rules, sets, queues and matches, while packets wait in the
// queues: each packet arrives.
func TestUpdateLosesNothing(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	l := newLoop(t, ns)
	rng := rand.New(rand.NewPCG(5, 6))
	// Connection tracking is there from the start, and the chain that comes later.
	first := variant(rng)
	first.Defrag = true
	first.Chains = append(first.Chains[:1:1], Chain{Hook: ipq.Output, Priority: 10, Rules: []Rule{{}}})
	r := install(t, ns, first)
	updates := 300
	if testing.Short() {
		updates = 60
	}
	for range updates {
		s := variant(rng)
		l.round(0, func() { update(t, r, s) })
	}
}

// The first chain before a waiting packet's, and connection tracking, have it come
// to its queue once more. It is not lost.
func TestNewChainsQueueAgain(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	l := newLoop(t, ns)
	s := one(ipq.Output, udpToQueue(Queue{}))
	r := install(t, ns, s)
	earlier := s
	earlier.Chains = append(earlier.Chains, Chain{Hook: ipq.Output, Priority: -10, Rules: []Rule{{Comment: "before"}}})
	l.round(1, func() { update(t, r, earlier) })
	l.round(0, func() { update(t, r, s) })
	l.round(0, func() { update(t, r, earlier) })
	later := earlier
	later.Chains = append(later.Chains, Chain{Hook: ipq.Output, Priority: 10}, Chain{Hook: ipq.Input, Priority: -10})
	l.round(0, func() { update(t, r, later) })
}

// The rules of another product come and change beside a queue in which packets
// wait, at every hook and priority, and with connection tracking: each packet
// arrives, and what comes to its queue once more is told.
func TestInstallBesideAQueue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		other Set
		again int
		tells bool
	}{
		{"later", one(ipq.Output, Rule{}), 0, false},
		{"elsewhere", one(ipq.Postrouting, Rule{}), 0, false},
		{"connection tracking", Set{Defrag: true, Chains: []Chain{{Hook: ipq.Postrouting}}}, 1, false},
		{"same priority", Set{Chains: []Chain{{Hook: ipq.Output, Priority: -50}}}, 1, true},
		{"earlier", Set{Chains: []Chain{{Hook: ipq.Output, Priority: -60}}}, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ns := labtest.New(t)
			l := newLoop(t, ns)
			s := one(ipq.Output, udpToQueue(Queue{Count: 4, Spread: ByFlow}))
			s.Chains[0].Priority = -50
			install(t, ns, s)
			c.other.Table = "other"
			var log strings.Builder
			cfg := Config{NetNS: ns.FD(), Logger: textLogger(&log)}
			var r *Ruleset
			l.round(c.again, func() {
				var err error
				if r, err = cfg.Install(c.other); err != nil {
					t.Fatal(err)
				}
			})
			if tells := strings.Contains(log.String(), "inet product output_m50"); tells != c.tells {
				t.Errorf("told: %v, want %v: %s", tells, c.tells, &log)
			}
			c.other.Chains = append(c.other.Chains, Chain{Hook: ipq.Output, Priority: 20, Rules: []Rule{{Match: Match{SrcAddrs: addrs(t, "10.0.0.0/8", "::1")}}}})
			l.round(0, func() { update(t, r, c.other) })
			l.round(0, func() { update(t, r, Set{Table: "other"}) })
		})
	}
}

// Rules that stay go on counting, wherever others are put or taken away.
func TestUpdateKeepsCounting(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	p := newPath(t, ns)
	count := func(comment string) Rule {
		return Rule{Comment: comment, Match: Match{Protocol: protocolUDP}}
	}
	a, b, c, d := count("a"), count("b"), count("c"), count("d")
	r := install(t, ns, one(ipq.Output, a, b, c))
	p.send("x")
	want := func(counts ...uint64) {
		t.Helper()
		if got := packets(t, r); !slices.Equal(got, counts) {
			t.Errorf("counted %d, want %d", got, counts)
		}
	}
	want(1, 1, 1)
	update(t, r, one(ipq.Output, d, a, d, b, d, c, d))
	want(0, 1, 0, 1, 0, 1, 0)
	p.send("x")
	want(1, 2, 1, 2, 1, 2, 1)
	update(t, r, one(ipq.Output, c))
	want(2)
	update(t, r, one(ipq.Output, a, c, b))
	want(0, 2, 0)
	p.send("x")
	update(t, r, one(ipq.Output, a, c, b))
	want(1, 3, 1)
}

// Remove is what loses packets, and says so: of any product's that wait.
func TestRemoveDropsWhatWaits(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	l := newLoop(t, ns)
	install(t, ns, one(ipq.Output, udpToQueue(Queue{})))
	other := install(t, ns, Set{Table: "other", Chains: []Chain{{Hook: ipq.Input}}})
	l.send("lost")
	held := <-l.held
	if err := other.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := held.Verdict(ipq.Accept); err != nil {
		t.Error(err)
	}
	l.send("kept")
	if err := (<-l.held).Verdict(ipq.Accept); err != nil {
		t.Error(err)
	}
	if got := l.receive(); got != "kept" {
		t.Errorf("%q arrived", got)
	}
}

// A packet meets the former rules or the new ones: while Sets take turns that all
// drop it, by other rules and sets, not one of a flood gets through.
func TestUpdateIsAtomic(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	p := newPath(t, ns)
	dropping := func(m Match, i int) Rule {
		m.Protocol = protocolUDP
		return Rule{Match: m, Action: Drop, Comment: fmt.Sprint(i)}
	}
	var turns []Set
	for i := range 4 {
		port := uint16(i)
		for _, drop := range []Rule{
			dropping(Match{DstAddrs: addrs(t, "127.0.0.0/30", fmt.Sprintf("10.0.%d.0/24", i))}, i), // intervals
			dropping(Match{DstAddrs: addrs(t, "127.0.0.1", fmt.Sprintf("10.0.%d.1", i))}, i),       // a hash
			dropping(Match{DstPorts: []PortRange{{udpPort, udpPort}, {port, port}}}, i),
			dropping(Match{OutDevs: []string{"lo", fmt.Sprintf("eth%d", i)}}, i),
			udpToQueue(Queue{First: 50 + port, Count: 3, Spread: ByFlow}), // where nobody listens
		} {
			s := one(ipq.Output, slices.Repeat([]Rule{{Comment: "before"}}, i)...)
			s.Chains[0].Rules = append(s.Chains[0].Rules, drop)
			turns = append(turns, s)
		}
	}
	r := install(t, ns, turns[0])
	stop, sent := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				sent <- n
				return
			default:
				p.from.Write([]byte("dropped")) // EPERM says so
			}
		}
	}()
	updates := 160
	if testing.Short() {
		updates = 50
	}
	for i := range updates {
		update(t, r, turns[i%len(turns)])
	}
	close(stop)
	t.Logf("%d packets during %d updates", <-sent, updates)
	update(t, r, one(ipq.Output))
	p.send("last")
	if got := p.receive(); got != "last" {
		t.Errorf("%q arrived", got)
	}
}

// BenchmarkUpdate is an update by one address of a list of n.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{10, 1000, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ns := labtest.New(b)
			list := manyAddrs(n)
			r := install(b, ns, one(ipq.Output))
			for i := range b.N {
				now := append(list, addrs(b, fmt.Sprintf("127.%d.%d.%d", i>>16&255, i>>8&255, i&255))...)
				update(b, r, one(ipq.Output, Rule{Match: Match{DstAddrs: now}, Action: Drop}))
			}
		})
	}
}
