package rules

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// sayable is a Set of all that iptables can say.
func sayable(t testing.TB) Set {
	all := uint32(math.MaxUint32)
	tcp := func(m Match) Match {
		m.Protocol = 6
		return m
	}
	return Set{
		Table: "product", OwnMark: 0x1d, RejectMark: 0x1e, Defrag: true, ConnLabels: true,
		Chains: []Chain{
			{Hook: ipq.Output, Rules: []Rule{
				{Comment: "it's dropped", Match: Match{Protocol: protocolUDP, DstPorts: []PortRange{{udpPort + 1, udpPort + 1}}}, Action: Drop},
				{Match: Match{SrcAddrs: addrs(t, "10.0.0.0/31", "10.0.0.2", "fd00::1"), DstAddrs: addrs(t, "192.0.2.0/24", "::/0")}, Action: Drop},
				{Not: Match{DstAddrs: addrs(t, "127.0.0.0/8", "::1"), OutDevs: []string{"lo"}, Protocol: 6, CTState: Established, Mark: Mark{1, 3}}, Action: Drop},
				{Match: tcp(Match{OutDevs: []string{"eth*", "wlan0"}, DstPorts: []PortRange{{80, 80}, {8000, 8100}}}), Not: Match{SrcPorts: []PortRange{{22, 22}}}, Action: Accept},
				{Match: tcp(Match{TCPFlags: TCPFlags{SYN, SYN | ACK}, UIDs: []uint32{0}}), SetMark: Mark{0x10, 0xf0}, SetConnMark: Mark{3, all}},
				{Match: tcp(Match{DstPorts: []PortRange{{1, 1}}}), Not: Match{TCPFlags: TCPFlags{0, RST}}, SetMark: Mark{1, all}, Queue: &Queue{First: 3, Count: 4, Bypass: true, Spread: ByCPU}},
				{Match: Match{Protocol: 132, ConnLabels: []uint8{3, 4}, ConnMark: Mark{1, 1}}, Action: Reject},
				{Match: Match{DstAddrs: addrs(t, "127.0.0.99")}, Action: Reject},
				{Match: Match{DstAddrs: addrs(t, "::99")}, SetMark: Mark{1, 1}, Action: Accept},
			}},
			{Hook: ipq.Prerouting, Priority: -150, Rules: []Rule{{Match: Match{InDevs: []string{"eth1"}}, Queue: &Queue{First: 9}}, {}}},
			{Hook: ipq.Prerouting, Priority: -300},
		},
	}
}

// What is loaded does what Install would do, and the rest of the table goes on.
func TestIPTablesLoads(t *testing.T) {
	t.Parallel()
	v4, v6, err := sayable(t).IPTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, flavour := range []string{"legacy", "nft"} {
		t.Run(flavour, func(t *testing.T) {
			t.Parallel()
			ns := labtest.New(t)
			mustRun(t, ns, v4, "iptables-"+flavour+"-restore", "--noflush")
			mustRun(t, ns, v6, "ip6tables-"+flavour+"-restore", "--noflush")
			mustRun(t, ns, "", "iptables-"+flavour, "-A", "OUTPUT", "-p", "udp", "-j", "ACCEPT")
			p := newPath(t, ns)
			sendUDP(t, ns, "127.0.0.1:0", "127.0.0.1:9010", 0x1d)
			if err := ns.Do(func() error {
				_, err := p.to.WriteToUDP([]byte("dropped"), addrOf("127.0.0.1", udpPort+1))
				return err
			}); err == nil {
				t.Error("a packet that is dropped at output was sent")
			}
			p.send("x")
			if got := p.receive(); got != "x" {
				t.Errorf("%q arrived", got)
			}
			if out := mustRun(t, ns, "", "iptables-"+flavour, "-nvxL", "OUTPUT"); !strings.Contains(out, " 1 ") && !strings.Contains(out, " 2 ") {
				t.Errorf("the rest of the table saw nothing:\n%s", out)
			}
		})
	}
}

// What iptables cannot say is an error that names the field.
func TestIPTablesCannotSay(t *testing.T) {
	many := manyAddrs(200)
	for _, c := range []struct {
		field string
		set   Set
	}{
		{"Table", Set{}},
		{"Family", Set{Table: "t", Family: Bridge}},
		{"Table", Set{Table: strings.Repeat("x", 25), Chains: []Chain{{Hook: ipq.Input}}}},
		{"Chains[0].Priority", Set{Table: "t", Chains: []Chain{{Hook: ipq.Input, Priority: 1}}}},
		{"Chains[0].Priority", Set{Table: "t", Chains: []Chain{{Hook: ipq.Prerouting}}}},
		{"Chains[0].Rules[0].Queue.Spread", one(ipq.Input, Rule{Queue: &Queue{Count: 2, Spread: ByFlow}})},
		{"Chains[0].Rules[0].SetConnLabels", one(ipq.Input, Rule{SetConnLabels: []uint8{1}})},
		{"Chains[0].Rules[0].Match.SrcAddrs", one(ipq.Input, Rule{Match: Match{SrcAddrs: many}})},
		{"Chains[0].Rules[0].Not.DstAddrs", one(ipq.Input, Rule{Not: Match{DstAddrs: many[:4]}})},
		{"Chains[0].Rules[0].Not.InDevs", one(ipq.Input, Rule{Not: Match{InDevs: []string{"a", "b"}}})},
		{"Chains[0].Rules[0].Match.TCPFlags", one(ipq.Input, Rule{Match: Match{Protocol: 6, TCPFlags: TCPFlags{CWR, CWR}}})},
		{"Chains[0].Rules[0].Match.DstPorts", one(ipq.Input, Rule{Match: Match{Protocol: 6, DstPorts: []PortRange{
			{1, 2}, {4, 5}, {7, 8}, {10, 11}, {13, 14}, {16, 17}, {19, 20}, {22, 23}}}})},
		{"Chains[0].Rules[0].Action", Set{Table: "t", Chains: []Chain{{Hook: ipq.Input, Priority: -150, Rules: []Rule{{Action: Reject}}}}}},
	} {
		v4, v6, err := c.set.IPTables()
		var field *FieldError
		if !errors.As(err, &field) || field.Field != c.field || !errors.Is(err, ErrConfig) || v4+v6 != "" {
			t.Errorf("%s: %v", c.field, err)
		}
	}
}
