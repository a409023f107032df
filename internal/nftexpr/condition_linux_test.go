package nftexpr_test

import (
	"math"
	"net"
	"slices"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/nftexpr"
)

// traffic is what the conditions are tried on. Nothing answers to it.
var traffic = []datagram{
	{"udp", "127.0.0.1:2000", 0, "data"},
	{"udp", "127.0.0.1:2001", 0xf2, "data"},
	{"udp", "[::1]:2000", 0xf1, "data"},
	{"ip4:icmp", "127.0.0.1", 0, echo(8)},
	{"ip4:icmp", "127.0.0.1", 0, echo(8)},
	{"ip4:icmp", "127.0.0.1", 0, echo(0)},
	{"ip6:ipv6-icmp", "::1", 0, echo(128)},
	{"ip6:ipv6-icmp", "::1", 0, echo(129)},
}

// echo returns a message of ICMP whose checksum is right. The kernel makes that
// of ICMPv6.
func echo(typ byte) string { return string([]byte{typ, 0, ^typ, 0xff, 0, 0, 0, 0}) }

// quiet has nothing in the namespace answer to the traffic.
func quiet(t *testing.T) *netlab.NS {
	t.Helper()
	ns := labtest.New(t)
	for _, key := range []string{"net.ipv4.icmp_echo_ignore_all", "net.ipv6.icmp.echo_ignore_all"} {
		if err := ns.Sysctl(key, "1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, port := range []int{2000, 2001} {
		if err := ns.Do(func() error {
			c, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
			if err == nil {
				t.Cleanup(func() { c.Close() })
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return ns
}

// sendAll sends the traffic past the rules, and returns what those have counted.
func sendAll(t *testing.T, ns *netlab.NS, c *counting) []int {
	t.Helper()
	c.install()
	for _, d := range traffic {
		if err := d.send(t, ns); err != nil {
			t.Fatal(err)
		}
	}
	return c.packets(len(traffic))
}

// Each condition holds for the packets that it is meant for, and its opposite for
// the others.
func TestConditions(t *testing.T) {
	udp := nftexpr.Protocol(unix.IPPROTO_UDP)
	for hook, cases := range map[*nftables.ChainHook][]struct {
		name           string
		before, tested nftexpr.Condition
		want, opposite int
	}{
		nftables.ChainHookOutput: {
			{"IPv4", nil, nftexpr.Family(unix.AF_INET), 5, 3},
			{"IPv6", nil, nftexpr.Family(unix.AF_INET6), 3, 5},
			{"UDP", nil, udp, 3, 5},
			{"ICMPv6", nil, nftexpr.Protocol(unix.IPPROTO_ICMPV6), 2, 6},
			{"TCP", nil, nftexpr.Protocol(unix.IPPROTO_TCP), 0, 8},
			{"the source port", udp, nftexpr.SrcPort(senderPort), 3, 0},
			{"another source port", udp, nftexpr.SrcPort(2000), 0, 3},
			{"a destination port", udp, nftexpr.DstPort(2000), 2, 1},
			{"a whole mark", nil, nftexpr.PacketMark.Is(0xf2, math.MaxUint32), 1, 7},
			{"no mark", nil, nftexpr.PacketMark.Is(0, math.MaxUint32), 6, 2},
			{"bits of a mark", nil, nftexpr.PacketMark.Is(0xf0, 0xf0), 2, 6},
			{"bits of which one is not set", nil, nftexpr.PacketMark.Is(0x2, 0x3), 1, 7},
			{"the outgoing link", nil, nftexpr.OutDev("lo"), 8, 0},
			{"the start of its name", nil, nftexpr.OutDev("l"), 0, 8},
		},
		nftables.ChainHookInput: {
			{"the incoming link", nil, nftexpr.InDev("lo"), 8, 0},
			{"another link", nil, nftexpr.InDev("lo0"), 0, 8},
		},
	} {
		ns := quiet(t)
		counting := newCounting(t, ns, *hook)
		for _, c := range cases {
			counting.rule(c.before, c.tested)
			counting.rule(c.before, c.tested.Not())
			counting.rule(c.before, c.tested.Not().Not())
		}
		got := sendAll(t, ns, counting)
		for i, c := range cases {
			if got := got[3*i:][:3]; !slices.Equal(got, []int{c.want, c.opposite, c.want}) {
				t.Errorf("%s: counted %d, its opposite %d, that one's opposite %d; want %d, %d",
					c.name, got[0], got[1], got[2], c.want, c.opposite)
			}
		}
	}
}

func TestEchoRequests(t *testing.T) {
	ns := quiet(t)
	counting := newCounting(t, ns, *nftables.ChainHookOutput)
	for _, family := range []uint8{0, unix.AF_INET, unix.AF_INET6} {
		for _, conditions := range nftexpr.EchoRequests(family) {
			counting.rule(slices.Concat(conditions...))
		}
	}
	if got, want := sendAll(t, ns, counting), []int{2, 1, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("counted %d, want %d", got, want)
	}
}
