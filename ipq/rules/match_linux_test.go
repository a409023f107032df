package rules

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// sendUDP sends a datagram with the mark from one address to another.
func sendUDP(t *testing.T, ns *netlab.NS, from, to string, mark int) {
	t.Helper()
	err := ns.Do(func() error {
		local, err := net.ResolveUDPAddr("udp", from)
		if err != nil {
			return err
		}
		remote, err := net.ResolveUDPAddr("udp", to)
		if err != nil {
			return err
		}
		c, err := net.ListenUDP("udp", local)
		if err != nil {
			return err
		}
		defer c.Close()
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) })
		if err == nil {
			_, err = c.WriteTo([]byte("x"), remote)
		}
		return err
	})
	if err != nil && !errors.Is(err, unix.EPERM) { // dropped
		t.Fatal(err)
	}
}

// Each condition holds for the packets that it should, and its opposite for the
// others. Nine datagrams are sent, of IPv4, IPv6, with and without marks.
func TestMatches(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	uid := uint32(os.Getuid()) // root of the user namespace, if there is one
	udp := func(m Match) Match {
		m.Protocol = protocolUDP
		return m
	}
	ports := func(ranges ...PortRange) []PortRange { return ranges }
	const all = 9
	cases := []struct {
		name     string
		m        Match
		hold     uint64
		opposite uint64
	}{
		{"nothing", Match{}, all, all},
		{"empty lists", Match{SrcAddrs: []netip.Prefix{}, DstPorts: []PortRange{}, OutDevs: []string{}, ConnLabels: []uint8{}, UIDs: []uint32{}}, all, all},
		{"IPv4 address", Match{SrcAddrs: addrs(t, "127.0.0.1")}, 4, 5},
		{"IPv4 network", Match{SrcAddrs: addrs(t, "127.0.0.0/8")}, 6, 3},
		{"IPv4 addresses", Match{SrcAddrs: addrs(t, "127.0.0.2", "127.0.0.9", "10.0.0.1")}, 2, 7},
		{"IPv4 networks", Match{DstAddrs: addrs(t, "127.0.0.4/30", "127.0.1.0/24")}, 2, 7},
		{"IPv6 address", Match{DstAddrs: addrs(t, "::1")}, 3, 6},
		{"both families", Match{SrcAddrs: addrs(t, "::/64", "127.0.0.2", "127.0.0.2")}, 5, 4},
		{"two lists", Match{SrcAddrs: addrs(t, "::1", "127.0.0.1"), DstAddrs: addrs(t, "127.0.0.0/29", "fd00::/8")}, 3, 0},
		{"everything", Match{SrcAddrs: addrs(t, "0.0.0.0/0", "::/0")}, all, 0},
		{"port", Match{DstPorts: ports(PortRange{2000, 2000})}, 5, 4},
		{"ports", Match{DstPorts: ports(PortRange{1990, 1999}, PortRange{1, 5}, PortRange{65535, 65535})}, 1, 8},
		{"port range", Match{DstPorts: ports(PortRange{2000, 65535})}, 8, 1},
		{"source port", Match{SrcPorts: ports(PortRange{777, 777})}, 2, 7},
		{"mark", Match{Mark: Mark{7, math.MaxUint32}}, 2, 7},
		{"no mark", Match{Mark: Mark{0, math.MaxUint32}}, 6, 3},
		{"masked mark", Match{Mark: Mark{4, 4}}, 3, 6},
		{"link", Match{OutDevs: []string{"lo"}}, all, 0},
		{"other links", Match{OutDevs: []string{"l", "loo", "eth*"}}, 0, all},
		{"links", Match{OutDevs: []string{"eth0", "lo", "x*"}}, all, 0},
		{"wildcard", Match{OutDevs: []string{"l*", "lo", "l*", "lo*"}}, all, 0},
		{"state", Match{CTState: New | Related}, all, 0},
		{"other states", Match{CTState: Established | Invalid | Untracked}, 0, all},
		{"connection mark", Match{ConnMark: Mark{0, math.MaxUint32}}, all, 0},
		{"connection label", Match{ConnLabels: []uint8{3, 70}}, 0, all},
		{"user", Match{UIDs: []uint32{uid}}, all, 0},
		{"users", Match{UIDs: []uint32{uid + 1, uid + 2, uid + 1}}, 0, all},
	}
	var rules []Rule
	for _, c := range cases {
		rules = append(rules, Rule{Match: udp(c.m), Comment: c.name}, Rule{Match: udp(Match{}), Not: c.m, Comment: "not " + c.name})
	}
	rules = append(rules, Rule{Not: Match{Protocol: protocolUDP}}, Rule{Match: Match{Protocol: 6}})
	s := one(ipq.Output, rules...)
	r := install(t, ns, s)
	for range 2 {
		sendUDP(t, ns, "127.0.0.1:0", "127.0.0.1:2000", 0)
		sendUDP(t, ns, "127.0.0.2:0", "127.0.0.1:2000", 0)
	}
	sendUDP(t, ns, "127.0.0.1:0", "127.0.0.5:1995", 0)
	sendUDP(t, ns, "127.0.0.1:777", "127.0.1.1:2001", 7)
	sendUDP(t, ns, "[::1]:0", "[::1]:2001", 0)
	sendUDP(t, ns, "[::1]:777", "[::1]:2001", 7)
	sendUDP(t, ns, "[::1]:0", "[::1]:2000", 0xf0004)
	got := packets(t, r)
	for i, c := range cases {
		if got[2*i] != c.hold || got[2*i+1] != c.opposite {
			t.Errorf("%s: %d packets, %d not; want %d and %d", c.name, got[2*i], got[2*i+1], c.hold, c.opposite)
		}
	}
	if n := len(cases); got[2*n+1] != 0 {
		t.Errorf("%d packets of TCP", got[2*n+1])
	}
}

// A refused connection shows the flags of TCP.
func TestTCPFlags(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	flags := func(value, mask uint8) Match {
		return Match{Protocol: 6, TCPFlags: TCPFlags{value, mask}}
	}
	r := install(t, ns, one(ipq.Input,
		Rule{Match: flags(SYN, SYN|ACK)}, Rule{Match: flags(RST, RST)}, Rule{Match: flags(0, SYN)},
		Rule{Match: Match{Protocol: 6}, Not: Match{TCPFlags: TCPFlags{SYN, SYN}}},
		Rule{Match: Match{InDevs: []string{"lo"}, Protocol: 6}}, Rule{Match: Match{InDevs: []string{"eth*", "l"}}}))
	ns.Do(func() error {
		if c, err := net.Dial("tcp", "127.0.0.1:1"); err == nil {
			c.Close()
			t.Error("connected")
		}
		return nil
	})
	for i, want := range []uint64{1, 1, 1, 1, 2, 0} {
		if got := packets(t, r); got[i] != want {
			t.Errorf("rule %d counted %d, want %d", i, got[i], want)
		}
	}
}

// Rules mark packets and connections, in the bits that they name, and decide.
func TestActions(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	all := uint32(math.MaxUint32)
	has := func(m Match) Rule { return Rule{Match: m} }
	s := Set{Table: "product", Chains: []Chain{
		{Hook: ipq.Output, Rules: []Rule{
			{Match: Match{Protocol: protocolUDP}, SetMark: Mark{0x50, 0xf0}, SetConnMark: Mark{0x7, all}, SetConnLabels: []uint8{2, 90}},
			{Match: Match{Protocol: protocolUDP}, SetConnMark: Mark{0x20, 0x21}},
			{Match: Match{Protocol: protocolUDP, DstPorts: []PortRange{{2001, 2001}}}, SetMark: Mark{9, all}, Action: Accept},
			{Match: Match{Protocol: protocolUDP, DstPorts: []PortRange{{2002, 2002}}}, Action: Drop},
			has(Match{Mark: Mark{0x5f, all}}),
		}},
		{Hook: ipq.Postrouting, Rules: []Rule{
			has(Match{Protocol: protocolUDP}),
			has(Match{Mark: Mark{9, all}}),
			has(Match{Protocol: protocolUDP, ConnMark: Mark{0x26, all}}),
			has(Match{Protocol: protocolUDP, ConnLabels: []uint8{90}}),
			has(Match{Protocol: protocolUDP, ConnLabels: []uint8{1, 2}}),
			has(Match{Protocol: protocolUDP, ConnLabels: []uint8{1, 89, 91}}),
		}},
	}}
	r := install(t, ns, s)
	sendUDP(t, ns, "127.0.0.1:0", "127.0.0.1:2000", 0xff)
	sendUDP(t, ns, "127.0.0.1:0", "127.0.0.1:2000", 0x0f)
	sendUDP(t, ns, "127.0.0.1:0", "127.0.0.1:2001", 0x0f)
	sendUDP(t, ns, "127.0.0.1:0", "127.0.0.1:2002", 0x0f) // dropped
	all2, err := r.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]uint64{{4, 4, 1, 1, 2}, {3, 1, 3, 3, 3, 0}} {
		for j, n := range want {
			if got := all2[i][j].Packets; got != n {
				t.Errorf("rule %d of chain %d counted %d, want %d", j, i, got, n)
			}
		}
	}
	if got, want := all2[0][0].Bytes, uint64(4*(20+8+1)); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

// Who is rejected learns it at once: TCP by a reset, UDP by an ICMP error.
func TestReject(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	const port = 4321
	to := Match{DstPorts: []PortRange{{port, port}}}
	tcp, udp := to, to
	tcp.Protocol, udp.Protocol = protocolTCP, protocolUDP
	// The answers come back over loopback, too: none of these rules is for them.
	r := install(t, ns, one(ipq.Input, Rule{Action: Reject, Match: tcp}, Rule{Action: Reject, Match: udp}, Rule{Action: Reject, Match: Match{DstAddrs: addrs(t, "127.0.0.9")}}))
	for _, host := range []string{"127.0.0.1", "::1", "127.0.0.9"} {
		err := ns.Do(func() error {
			address := net.JoinHostPort(host, "4321")
			l, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			defer l.Close()
			if c, err := net.Dial("tcp", address); err == nil {
				c.Close()
				t.Error(host, "connected")
			} else if !errors.Is(err, unix.ECONNREFUSED) {
				t.Error(host, err)
			}
			c, err := net.Dial("udp", address)
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("x")); err != nil {
				return err
			}
			c.SetReadDeadline(deadline())
			if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
				t.Errorf("%s: UDP: %v", host, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if got := packets(t, r); !slices.Equal(got, []uint64{3, 3, 0}) {
		t.Errorf("counted %d", got)
	}
	update(t, r, one(ipq.Input, Rule{Action: Reject, Match: Match{DstAddrs: addrs(t, "127.0.0.9")}}))
	sendUDP(t, ns, "127.0.0.1:0", "127.0.0.9:1", 0)
	if got := packets(t, r); !slices.Equal(got, []uint64{1}) {
		t.Errorf("counted %d", got)
	}
}

// Own traffic passes, and so do the answers to it where the kernel can tell them.
func TestOwnMark(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	udp := Rule{Match: Match{Protocol: protocolUDP}, Action: Drop}
	s := Set{Table: "product", OwnMark: 0x1d, RejectMark: 0x1e, Chains: []Chain{{Hook: ipq.Output, Rules: []Rule{udp}}, {Hook: ipq.Input, Rules: []Rule{udp}}}}
	r := install(t, ns, s)
	sendUDP(t, ns, "127.0.0.1:0", "127.0.0.1:2000", 0x1d)
	sendUDP(t, ns, "127.0.0.1:0", "127.0.0.1:2000", 0x1e)
	sendUDP(t, ns, "127.0.0.1:0", "127.0.0.1:2000", 0x1c)
	c, err := r.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if c[0][0].Packets != 1 || c[1][0].Packets != 0 { // a packet keeps its mark over loopback
		t.Errorf("%+v", c)
	}
	if !r.have.socket {
		t.Skip("this kernel has no nft socket expression")
	}
	s.Chains = s.Chains[1:]
	s.RejectMark = 0
	update(t, r, s)
	err = ns.Do(func() error {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		defer c.Close()
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, 0x1d) })
		if err != nil {
			return err
		}
		sendUDP(t, ns, "127.0.0.1:0", c.LocalAddr().String(), 0)
		c.SetReadDeadline(deadline())
		_, err = c.Read(make([]byte, 1))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A verdict's mark comes to be the connection's by a later chain, and the rest of the
// connection passes or is dropped by it, without being queued. Its bits have the number
// of the policy, so that another number takes all decisions back.
func TestConnectionVerdicts(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	const pass, drop, mask = 0x10000, 0x20000, 0xff0000
	policy := func(generation uint32) Set {
		p := Mark{pass | generation<<18, mask}
		d := Mark{drop | generation<<18, mask}
		return Set{Table: "product", Chains: []Chain{
			{Hook: ipq.Output, Rules: []Rule{
				{Match: Match{ConnMark: p}, Action: Accept},
				{Match: Match{ConnMark: d}, Action: Drop},
				udpToQueue(Queue{First: queueNumber}),
			}},
			{Hook: ipq.Output, Priority: 1, Rules: []Rule{ // where an accepted packet goes on
				{Match: Match{Mark: p}, SetConnMark: p},
				{Match: Match{Mark: d}, SetConnMark: d, Action: Drop},
			}},
		}}
	}
	var verdict atomic.Uint64
	queued := make(chan bool, 10)
	r := install(t, ns, policy(1))
	serve(t, ns, queueNumber, 1, func(*ipq.Packet) ipq.Verdict {
		queued <- true
		return ipq.Verdict(verdict.Load())
	})
	p := newPath(t, ns)
	for generation := range uint32(3) {
		update(t, r, policy(generation))
		verdict.Store(uint64(ipq.Accept.WithMark(pass | generation<<18)))
		for range 3 {
			p.send("x")
			p.receive()
		}
		<-queued
		if n := len(queued); n != 0 {
			t.Errorf("generation %d: %d packets more were queued", generation, n)
		}
		if got := packets(t, r); got[0] < 2 {
			t.Errorf("generation %d: counted %d", generation, got)
		}
	}
	update(t, r, policy(5))
	verdict.Store(uint64(ipq.Accept.WithMark(drop | 5<<18)))
	p.send("dropped")
	<-queued
	await(t, "the mark", func() bool {
		all, err := r.Counters()
		return err == nil && all[1][1].Packets == 1
	})
	if _, err := p.from.Write([]byte("dropped")); !errors.Is(err, unix.EPERM) {
		t.Errorf("of a connection that is dropped: %v", err)
	}
	if n := len(queued); n != 0 {
		t.Errorf("%d packets more were queued", n)
	}
}

// Labels are bits of an array of longs.
func TestLabelBits(t *testing.T) {
	b := labelBits([]uint8{0, 9, 64, 127})
	if len(b) != 16 || binary.NativeEndian.Uint32(b) != 1<<9|1 && binary.NativeEndian.Uint64(b) != 1<<9|1 {
		t.Errorf("%x", b)
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 && (b[8] != 1 || b[15] != 0x80) {
		t.Errorf("%x", b)
	}
}
