package rules

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/goipq/goipq/ipq"
)

func addrs(t testing.TB, texts ...string) []netip.Prefix {
	t.Helper()
	all, err := ParseAddrs(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// oneRule is a Set with a good chain before the one with the rule.
func oneRule(hook ipq.Hook, r Rule) Set {
	return Set{Table: "t", Chains: []Chain{{Hook: hook, Priority: 9}, {Hook: hook, Rules: []Rule{{}, r}}}}
}

// Whatever is wrong, the error names the field, and that it is no fault of the
// kernel's.
func TestCheckNamesTheField(t *testing.T) {
	const rule = "Chains[1].Rules[1]"
	bridge := func(s Set) Set {
		s.Family = Bridge
		return s
	}
	for _, c := range []struct {
		field string
		set   Set
	}{
		{"Table", Set{}},
		{"Table", Set{Table: "1st"}},
		{"Table", Set{Table: "a b"}},
		{"Table", Set{Table: strings.Repeat("x", 201)}},
		{"Family", Set{Table: "t", Family: 2}},
		{"RejectMark", Set{Table: "t", OwnMark: 7, RejectMark: 7}},
		{"Chains[0].Hook", Set{Table: "t", Chains: []Chain{{Hook: 5}}}},
		{"Chains[2].Priority", Set{Table: "t", Chains: []Chain{{Hook: 1, Priority: 3}, {Hook: 2, Priority: 3}, {Hook: 1, Priority: 3}}}},
		{"Chains[0].Priority", Set{Table: "t", Defrag: true, Chains: []Chain{{Hook: ipq.Prerouting, Priority: -400}}}},
		{"Chains[0].Priority", bridge(Set{Table: "t", Defrag: true, Chains: []Chain{{Hook: ipq.Prerouting, Priority: -200}}})},
		{rule + ".Comment", oneRule(ipq.Input, Rule{Comment: `say "x"`})},
		{rule + ".Comment", oneRule(ipq.Input, Rule{Comment: strings.Repeat("x", 129)})},
		{rule + ".Match.SrcAddrs[1]", oneRule(ipq.Input, Rule{Match: Match{SrcAddrs: []netip.Prefix{netip.MustParsePrefix("::/0"), {}}}})},
		{rule + ".Not.DstAddrs[0]", oneRule(ipq.Input, Rule{Not: Match{DstAddrs: []netip.Prefix{netip.MustParsePrefix("::ffff:1.2.3.4/128")}}})},
		{rule + ".Match.DstAddrs", oneRule(ipq.Input, Rule{Match: Match{SrcAddrs: addrs(t, "10.0.0.1"), DstAddrs: addrs(t, "::1")}})},
		{rule + ".Match.DstPorts[1]", oneRule(ipq.Input, Rule{Match: Match{Protocol: 6, DstPorts: []PortRange{{1, 1}, {90, 80}}}})},
		{rule + ".Match.SrcPorts", oneRule(ipq.Input, Rule{Match: Match{SrcPorts: []PortRange{{80, 80}}}})},
		{rule + ".Match.DstPorts", oneRule(ipq.Input, Rule{Match: Match{Protocol: 1, DstPorts: []PortRange{{80, 80}}}})},
		{rule + ".Not.DstPorts", oneRule(ipq.Input, Rule{Not: Match{Protocol: 6, DstPorts: []PortRange{{80, 80}}}})},
		{rule + ".Match.TCPFlags", oneRule(ipq.Input, Rule{Match: Match{Protocol: 17, TCPFlags: TCPFlags{SYN, SYN}}})},
		{rule + ".Match.TCPFlags", oneRule(ipq.Input, Rule{Match: Match{Protocol: 6, TCPFlags: TCPFlags{SYN | ACK, SYN}}})},
		{rule + ".Not.Protocol", oneRule(ipq.Input, Rule{Match: Match{Protocol: 6}, Not: Match{Protocol: 6}})},
		{rule + ".Match.InDevs[0]", oneRule(ipq.Input, Rule{Match: Match{InDevs: []string{"abcdefghijklmnop"}}})},
		{rule + ".Match.InDevs[1]", oneRule(ipq.Input, Rule{Match: Match{InDevs: []string{"lo", "*"}}})},
		{rule + ".Match.InDevs[0]", oneRule(ipq.Input, Rule{Match: Match{InDevs: []string{"e*h"}}})},
		{rule + ".Not.InDevs[0]", oneRule(ipq.Input, Rule{Not: Match{InDevs: []string{`"lo`}}})},
		{rule + ".Match.InDevs", oneRule(ipq.Output, Rule{Match: Match{InDevs: []string{"lo"}}})},
		{rule + ".Match.OutDevs", oneRule(ipq.Prerouting, Rule{Match: Match{OutDevs: []string{"lo"}}})},
		{rule + ".Match.CTState", oneRule(ipq.Input, Rule{Match: Match{CTState: 16}})},
		{rule + ".Match.Mark", oneRule(ipq.Input, Rule{Match: Match{Mark: Mark{3, 1}}})},
		{rule + ".Not.ConnMark", oneRule(ipq.Input, Rule{Not: Match{ConnMark: Mark{1, 0}}})},
		{rule + ".Match.ConnLabels[0]", oneRule(ipq.Input, Rule{Match: Match{ConnLabels: []uint8{128}}})},
		{rule + ".Match.UIDs", oneRule(ipq.Input, Rule{Match: Match{UIDs: []uint32{0}}})},
		{rule + ".SetMark", oneRule(ipq.Input, Rule{SetMark: Mark{Value: 2, Mask: 1}})},
		{rule + ".SetConnMark", oneRule(ipq.Input, Rule{SetConnMark: Mark{Value: 2}})},
		{rule + ".SetConnLabels[1]", oneRule(ipq.Input, Rule{SetConnLabels: []uint8{1, 200}})},
		{"Chains[0].Rules[0].Match.CTState", Set{Table: "t", Chains: []Chain{{Hook: ipq.Output, Priority: -200, Rules: []Rule{{Match: Match{CTState: New}}}}}}},
		{"Chains[0].Rules[0].SetConnLabels", Set{Table: "t", Chains: []Chain{{Hook: ipq.Output, Priority: -200, Rules: []Rule{{SetConnLabels: []uint8{1}}}}}}},
		{"Chains[0].Rules[0].Not.ConnLabels", Set{Table: "t", Chains: []Chain{{Hook: ipq.Prerouting, Priority: -300, Rules: []Rule{{Not: Match{ConnLabels: []uint8{1}}}}}}}},
		{rule + ".Action", oneRule(ipq.Input, Rule{Action: 4})},
		{rule + ".Action", oneRule(ipq.Input, Rule{Action: Drop, Queue: &Queue{}})},
		{rule + ".Action", oneRule(ipq.Postrouting, Rule{Action: Reject})},
		{rule + ".Action", bridge(oneRule(ipq.Forward, Rule{Action: Reject}))},
		{rule + ".Match.UIDs", bridge(oneRule(ipq.Output, Rule{Match: Match{UIDs: []uint32{0}}}))},
		{rule + ".Queue.Count", oneRule(ipq.Input, Rule{Queue: &Queue{Count: -1}})},
		{rule + ".Queue.Count", oneRule(ipq.Input, Rule{Queue: &Queue{First: 65535, Count: 2}})},
		{rule + ".Queue.Count", oneRule(ipq.Input, Rule{Queue: &Queue{Count: 65536}})},
		{rule + ".Queue.Count", oneRule(ipq.Input, Rule{Queue: &Queue{Count: 1025, Spread: ByFlow}})},
		{rule + ".Queue.Spread", oneRule(ipq.Input, Rule{Queue: &Queue{Spread: 3}})},
	} {
		err := c.set.Check()
		var field *FieldError
		if !errors.As(err, &field) || field.Field != c.field {
			t.Errorf("%s: %v", c.field, err)
			continue
		}
		if !errors.Is(err, ErrConfig) || errors.Is(err, errors.ErrUnsupported) || !strings.HasPrefix(err.Error(), "rules: "+c.field+": ") {
			t.Errorf("%s: %v", c.field, err)
		}
		if _, installErr := Install(c.set); installErr == nil {
			t.Errorf("%s: installed", c.field)
		}
	}
}

// What is unusual and right is not refused.
func TestCheckAllows(t *testing.T) {
	for _, s := range []Set{
		{Table: "t"},
		{Table: "t", Family: Bridge, Chains: []Chain{{Hook: ipq.Prerouting, Rules: []Rule{{Action: Reject}}}}},
		oneRule(ipq.Forward, Rule{Match: Match{SrcAddrs: addrs(t, "10.0.0.1", "::1"), DstAddrs: addrs(t, "::/0", "0.0.0.0/0")}}),
		oneRule(ipq.Forward, Rule{Match: Match{Protocol: 6, DstPorts: []PortRange{{0, 65535}}}, Not: Match{DstPorts: []PortRange{{22, 22}}}}),
		oneRule(ipq.Forward, Rule{Match: Match{Mark: Mark{0, math.MaxUint32}, InDevs: []string{"eth*", "abcdefghijklmno"}}}),
		// Empty lists are no conditions.
		oneRule(ipq.Forward, Rule{Match: Match{SrcPorts: []PortRange{}, SrcAddrs: []netip.Prefix{}, ConnLabels: []uint8{}}, SetConnLabels: []uint8{}}),
		oneRule(ipq.Forward, Rule{Queue: &Queue{First: 65535}}),
		oneRule(ipq.Forward, Rule{Queue: &Queue{First: 1, Count: 65535}}),
		oneRule(ipq.Forward, Rule{Queue: &Queue{Count: 1024, Spread: ByFlow}}),
	} {
		if err := s.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestParseAddrs(t *testing.T) {
	all := addrs(t, "192.0.2.1", "10.0.0.0/8", "2001:db8::/32", "::1")
	if got := all[0].String() + all[1].String() + all[2].String() + all[3].String(); got != "192.0.2.1/3210.0.0.0/82001:db8::/32::1/128" {
		t.Error(got)
	}
	for _, text := range []string{"", "10.0.0.256", "10.0.0.0/33", "fe80::1%lo", "example.org"} {
		if _, err := ParseAddrs("10.0.0.1", text); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
