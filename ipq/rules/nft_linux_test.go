package rules

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// products are those of docs/rules.md.
func products(t testing.TB) map[string]Set {
	web := Match{Protocol: 6, DstPorts: []PortRange{{80, 80}, {443, 443}}}
	webBack := Match{Protocol: 6, SrcPorts: web.DstPorts}
	return map[string]Set{
		"ips": {
			Table: "myips", OwnMark: 0x1d, Defrag: true,
			Chains: []Chain{{Hook: ipq.Forward, Rules: []Rule{
				{Comment: "blocked", Match: Match{SrcAddrs: addrs(t, "192.0.2.0/24", "198.51.100.7", "2001:db8:bad::/48")}, Action: Drop},
				{Comment: "passed for good", Match: Match{ConnMark: Mark{0x100, 0x100}}, Action: Accept},
				{Match: web, Queue: &Queue{First: 0, Count: 4, Bypass: true, Spread: ByFlow}},
				{Match: webBack, Queue: &Queue{First: 0, Count: 4, Bypass: true, Spread: ByFlow}},
			}}},
		},
		"firewall": {
			Table: "myfirewall", OwnMark: 0x1d, RejectMark: 0x1e,
			Chains: []Chain{
				{Hook: ipq.Output, Rules: []Rule{
					{Match: Match{OutDevs: []string{"lo"}}, Action: Accept},
					{Match: Match{CTState: New}, Not: Match{UIDs: []uint32{0}}, Queue: &Queue{First: 10}},
				}},
				{Hook: ipq.Input, Rules: []Rule{
					{Match: Match{InDevs: []string{"lo", "tailscale*"}}, Action: Accept},
					{Match: Match{CTState: Established | Related}, Action: Accept},
					{Match: Match{Protocol: 6, DstPorts: []PortRange{{22, 22}}, SrcAddrs: addrs(t, "10.0.0.0/8", "fd00::/8")}, Action: Accept},
					{Match: Match{Protocol: 6}, Action: Reject},
				}},
			},
		},
		"bridge": {
			Table: "mybridge", Family: Bridge,
			Chains: []Chain{{Hook: ipq.Forward, Rules: []Rule{
				{Match: Match{InDevs: []string{"eth0"}, Protocol: protocolUDP, DstPorts: []PortRange{{53, 53}}}, Queue: &Queue{First: 20, Bypass: true}},
				{Match: Match{OutDevs: []string{"eth0"}, Protocol: protocolUDP, SrcPorts: []PortRange{{53, 53}}}, Queue: &Queue{First: 20, Bypass: true}},
			}}},
		},
	}
}

// The document shows what NFT returns.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "rules.md"))
	if errors.Is(err, fs.ErrNotExist) {
		return // the test runs by itself, away from the sources
	} else if err != nil {
		t.Fatal(err)
	}
	for name, s := range products(t) {
		want, err := s.NFT()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\n```\n"+want+"```\n") {
			t.Errorf("docs/rules.md does not show, for %s,\n%s", name, want)
		}
	}
}

// sameAsText asserts that what Install makes of a Set and what nft makes of its
// text are listed alike.
func sameAsText(t *testing.T, s Set) {
	t.Helper()
	text, err := s.NFT()
	if err != nil {
		t.Fatal(err)
	}
	a, b := labtest.New(t), labtest.New(t)
	r := install(t, a, s)
	if out, err := run(t, b, text, "nft", "-f", "-"); err != nil {
		t.Fatalf("nft: %v\n%s\n%s", err, out, text)
	}
	if ours, theirs := listing(t, a), listing(t, b); ours != theirs {
		t.Errorf("the text\n%s\ninstalled:\n%s\nloaded:\n%s", text, ours, theirs)
	}
	if err := r.Remove(); err != nil {
		t.Error(err)
	}
}

// withoutQueues returns the Set with other actions, where the kernel has no queue
// expression for nft's text.
func withoutQueues(t *testing.T, s Set, ns *netlab.NS) Set {
	t.Helper()
	native, err := netlab.ProbeQueueExpr(ns)
	if err != nil {
		t.Fatal(err)
	}
	if native {
		return s
	}
	for i := range s.Chains {
		for j := range s.Chains[i].Rules {
			if s.Chains[i].Rules[j].Queue != nil {
				s.Chains[i].Rules[j].Queue, s.Chains[i].Rules[j].Action = nil, Accept
			}
		}
	}
	return s
}

func TestTextOfProducts(t *testing.T) {
	t.Parallel()
	for name, s := range products(t) {
		t.Run(name, func(t *testing.T) {
			sameAsText(t, withoutQueues(t, s, labtest.New(t)))
		})
	}
}

// Any Set is the same whether it is installed or loaded as text.
func TestTextOfAnySet(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	sets := 60
	if testing.Short() {
		sets = 10
	}
	for seed := range sets {
		s := withoutQueues(t, randomSet(rand.New(rand.NewPCG(10, uint64(seed)))), ns)
		if s.Check() != nil {
			continue
		}
		sameAsText(t, s)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// randomSet returns a Set of any kind, which may make no sense.
func randomSet(rng *rand.Rand) Set {
	s := Set{Table: "any", Defrag: rng.IntN(3) == 0, ConnLabels: rng.IntN(3) == 0}
	if rng.IntN(2) == 0 {
		s.OwnMark = rng.Uint32()
	}
	for i := range 1 + rng.IntN(3) {
		c := Chain{Hook: ipq.Hook(rng.IntN(5)), Priority: int32(10*i - 150)}
		for range rng.IntN(6) {
			c.Rules = append(c.Rules, randomRule(rng, c))
		}
		s.Chains = append(s.Chains, c)
	}
	if rng.IntN(4) == 0 { // without connection tracking, which some kernels do not have there
		s.Family, s.Defrag, s.ConnLabels = Bridge, false, false
		for _, c := range s.Chains {
			for i := range c.Rules {
				r := &c.Rules[i]
				r.SetConnMark, r.SetConnLabels = Mark{}, nil
				for _, m := range []*Match{&r.Match, &r.Not} {
					m.CTState, m.ConnMark, m.ConnLabels, m.UIDs = 0, Mark{}, nil, nil
				}
				if r.Action == Reject {
					r.Action = Drop
				}
			}
		}
	}
	return s
}

func randomRule(rng *rand.Rand, c Chain) Rule {
	r := Rule{Match: randomMatch(rng, c), Not: randomMatch(rng, c)}
	r.Not.Protocol = 0
	if withPorts[r.Match.Protocol] == "" {
		r.Match.SrcPorts, r.Match.DstPorts, r.Not.SrcPorts, r.Not.DstPorts = nil, nil, nil, nil
	}
	if r.Match.Protocol != protocolTCP {
		r.Match.TCPFlags, r.Not.TCPFlags = TCPFlags{}, TCPFlags{}
	}
	if rng.IntN(3) == 0 {
		r.Comment = fmt.Sprint("comment ", rng.IntN(100))
	}
	if rng.IntN(4) == 0 {
		r.SetMark = Mark{rng.Uint32(), math.MaxUint32}
	}
	if rng.IntN(4) == 0 {
		r.SetConnMark = Mark{0x10, 0x30}
	}
	if rng.IntN(4) == 0 {
		r.SetConnLabels = []uint8{uint8(rng.IntN(128)), 7}
	}
	switch rng.IntN(3) {
	case 0:
		r.Action = Action(rng.IntN(4))
	case 1:
		r.Queue = &Queue{First: uint16(rng.IntN(100)), Count: rng.IntN(4), Bypass: rng.IntN(2) == 0, Spread: Spread(rng.IntN(3))}
	}
	return r
}

func randomMatch(rng *rand.Rand, c Chain) (m Match) {
	some := func() bool { return rng.IntN(4) == 0 }
	list := func() (list []string) {
		for range 1 + rng.IntN(5) {
			list = append(list, fmt.Sprintf("10.%d.0.%d/%d", rng.IntN(3), rng.IntN(256), 8+rng.IntN(25)))
			if rng.IntN(2) == 0 {
				list = append(list, fmt.Sprintf("2001:db8::%x:0/%d", rng.IntN(1000), 30+rng.IntN(99)))
			}
		}
		return list[rng.IntN(len(list)):]
	}
	ports := func() (list []PortRange) {
		for range 1 + rng.IntN(3) {
			first := uint16(rng.IntN(60000))
			list = append(list, PortRange{first, first + uint16(rng.IntN(3)*rng.IntN(1000))})
		}
		return list
	}
	links := func() (list []string) {
		for range 1 + rng.IntN(3) {
			list = append(list, []string{"lo", "eth0", "eth*", "wlan0", "w*", "ppp0"}[rng.IntN(6)])
		}
		return list
	}
	if some() {
		m.SrcAddrs, _ = ParseAddrs(list()...)
	}
	if some() {
		m.DstAddrs, _ = ParseAddrs(list()...)
	}
	if some() {
		m.Protocol = []uint8{1, 6, 6, 17, 17, 47, 132}[rng.IntN(7)]
	}
	if some() {
		m.SrcPorts = ports()
	}
	if some() {
		m.DstPorts = ports()
	}
	if some() {
		m.TCPFlags = TCPFlags{SYN, SYN | RST}
	}
	if some() && c.Hook != ipq.Output {
		m.InDevs = links()
	}
	if some() && c.Hook > ipq.Input {
		m.OutDevs = links()
	}
	if some() {
		m.CTState = ConnState(1+rng.IntN(15)) & allConnStates
	}
	if some() {
		m.Mark = Mark{1, 3}
	}
	if some() {
		m.ConnMark = Mark{rng.Uint32(), math.MaxUint32}
	}
	if some() {
		m.ConnLabels = []uint8{uint8(rng.IntN(128)), 7}
	}
	if some() && c.Hook >= ipq.Output {
		m.UIDs = []uint32{uint32(rng.IntN(3)), 0}
	}
	return m
}
