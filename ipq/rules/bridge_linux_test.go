package rules

import (
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// newBridge joins two hosts, 10.0.0.1 and 10.0.0.2, fd00::1 and fd00::2, by a
// bridge.
func newBridge(t *testing.T) (left, at, right *netlab.NS) {
	t.Helper()
	left, at, right = labtest.New(t), labtest.New(t), labtest.New(t)
	err := errors.Join(
		netlab.Veth(left, "eth0", at, "left"), netlab.Veth(right, "eth0", at, "right"),
		at.Bridge("br0", "left", "right"))
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel has no bridges")
	}
	for host, ns := range map[string]*netlab.NS{"1": left, "2": right} {
		err = errors.Join(err, ns.Addr("eth0", "10.0.0."+host+"/24"), ns.Addr("eth0", "fd00::"+host+"/64"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return left, at, right
}

// exchange sends a datagram from the left to the right, and waits for it.
func exchange(t *testing.T, left, right *netlab.NS, to string) {
	t.Helper()
	var receiver *net.UDPConn
	err := right.Do(func() (err error) {
		receiver, err = net.ListenUDP("udp", addrOf(to, udpPort))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	err = left.Do(func() error {
		c, err := net.DialUDP("udp", nil, addrOf(to, udpPort))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("x"))
		return err
	})
	if err == nil {
		receiver.SetReadDeadline(deadline())
		_, err = receiver.Read(make([]byte, 1))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// At a bridge's hooks rules see frames, and know what is in them.
func TestBridge(t *testing.T) {
	t.Parallel()
	left, at, right := newBridge(t)
	udp := Match{Protocol: protocolUDP, DstPorts: []PortRange{{udpPort, udpPort}}}
	with := func(change func(*Match)) Match {
		m := udp
		change(&m)
		return m
	}
	s := one(ipq.Forward,
		Rule{Match: udp},
		Rule{Match: with(func(m *Match) { m.SrcAddrs = addrs(t, "10.0.0.1", "fd00::1") })},
		Rule{Match: with(func(m *Match) { m.DstAddrs = addrs(t, "10.0.0.0/24", "10.9.0.0/16") })},
		Rule{Match: udp, Not: Match{DstAddrs: addrs(t, "10.0.0.0/24")}},
		Rule{Match: with(func(m *Match) { m.InDevs, m.OutDevs = []string{"left"}, []string{"ri*"} })},
		Rule{Match: with(func(m *Match) { m.InDevs = []string{"right", "br0"} })},
	)
	s.Family = Bridge
	r := install(t, at, s)
	exchange(t, left, right, "10.0.0.2")
	exchange(t, left, right, "fd00::2")
	if got := packets(t, r); !slices.Equal(got, []uint64{2, 2, 1, 1, 2, 0}) {
		t.Errorf("counted %d", got)
	}
	queue := one(ipq.Forward, Rule{Match: udp, Queue: &Queue{First: queueNumber, Count: 2, Spread: ByFlow}})
	queue.Family = Bridge
	if err := r.Update(queue); errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("this kernel does not queue at a bridge's hooks: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	queued := make(chan bool, 2)
	serve(t, at, queueNumber, 2, func(*ipq.Packet) ipq.Verdict {
		queued <- true
		return ipq.Accept
	})
	for _, to := range []string{"10.0.0.2", "fd00::2"} {
		exchange(t, left, right, to)
		<-queued
	}
}

// atBridge is install for a bridge. Where the kernel tracks no connections there, or
// has no reject, the error must say so and name the field, nothing is there, and the
// test is skipped.
func atBridge(t *testing.T, ns *netlab.NS, field string, s Set) *Ruleset {
	t.Helper()
	s.Family = Bridge
	r, err := Config{NetNS: ns.FD()}.Install(s)
	if !errors.Is(err, errors.ErrUnsupported) {
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var refused *FieldError
	if !errors.As(err, &refused) || refused.Field != field || errors.Is(err, ErrConfig) {
		t.Errorf("the error does not name %s: %v", field, err)
	}
	if names := tableNames(t, ns); names != nil {
		t.Errorf("tables %q", names)
	}
	t.Skip(err)
	return nil
}

// A bridge knows the connections of what it passes on, where the kernel tracks them.
func TestBridgeConnections(t *testing.T) {
	t.Parallel()
	left, at, right := newBridge(t)
	in := func(m Match) Match {
		m.Protocol, m.InDevs = protocolUDP, []string{"left"}
		return m
	}
	whole := uint32(math.MaxUint32)
	r := atBridge(t, at, "Chains[0].Rules[0].Match.CTState", one(ipq.Forward,
		Rule{Match: in(Match{CTState: New}), SetConnMark: Mark{5, whole}, SetConnLabels: []uint8{7}},
		Rule{Match: in(Match{CTState: Established})},
		Rule{Match: in(Match{}), Not: Match{CTState: New | Established}},
		Rule{Match: Match{ConnMark: Mark{5, whole}, InDevs: []string{"right"}}},
		Rule{Match: Match{ConnLabels: []uint8{7}, InDevs: []string{"right"}}},
		Rule{Match: Match{Protocol: protocolUDP, InDevs: []string{"right"}}, Not: Match{ConnLabels: []uint8{7}}},
	))
	for _, host := range []string{"10.0.0.", "fd00::"} {
		newTalk(t, left, host+"1", right, host+"2").exchange("there", "back", "and there")
	}
	if got := packets(t, r); !slices.Equal(got, []uint64{2, 2, 0, 2, 2, 0}) {
		t.Errorf("counted %d", got)
	}
}

// With Defrag rules at a bridge see whole datagrams, as hosts do that are sent them.
func TestBridgeDefrag(t *testing.T) {
	t.Parallel()
	left, at, right := newBridge(t)
	s := one(ipq.Forward,
		Rule{Match: Match{Protocol: protocolUDP, DstPorts: []PortRange{{udpPort, udpPort}}}},
		Rule{Match: Match{Protocol: protocolUDP}})
	s.Defrag = true
	r := atBridge(t, at, "Defrag", s)
	const size = 4000 // three fragments
	for _, host := range []string{"10.0.0.", "fd00::"} {
		newTalk(t, left, host+"1", right, host+"2").exchange(strings.Repeat("x", size))
	}
	c, err := r.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if want := (Counter{2, 20 + 8 + size + 40 + 8 + size}); c[0][0] != want || c[0][1] != want {
		t.Errorf("counted %+v, want %+v", c, want)
	}
}

// What a bridge rejects is answered, at the hooks where it can be.
func TestBridgeReject(t *testing.T) {
	t.Parallel()
	left, at, right := newBridge(t)
	s := one(ipq.Prerouting, Rule{Match: Match{Protocol: protocolTCP, InDevs: []string{"left"}}, Action: Reject})
	r := atBridge(t, at, "Chains[0].Rules[0]", s)
	for _, host := range []string{"10.0.0.2", "fd00::2"} {
		address := net.JoinHostPort(host, "4321")
		var l net.Listener
		err := right.Do(func() (err error) {
			l, err = net.Listen("tcp", address)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = left.Do(func() error {
			c, err := net.Dial("tcp", address)
			if err == nil {
				c.Close()
			}
			return err
		})
		if !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: %v", host, err)
		}
		l.Close()
	}
	if got := packets(t, r); !slices.Equal(got, []uint64{2}) {
		t.Errorf("counted %d", got)
	}
}

// A talk is two sockets of two hosts that send each other datagrams.
type talk struct {
	t    *testing.T
	ends [2]*net.UDPConn
}

func newTalk(t *testing.T, left *netlab.NS, leftHost string, right *netlab.NS, rightHost string) *talk {
	t.Helper()
	k := &talk{t: t}
	for i, end := range []struct {
		ns   *netlab.NS
		addr *net.UDPAddr
	}{{left, addrOf(leftHost, 0)}, {right, addrOf(rightHost, udpPort)}} {
		if err := end.ns.Do(func() (err error) {
			k.ends[i], err = net.ListenUDP("udp", end.addr)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.ends[i].Close() })
	}
	return k
}

// exchange sends the texts, by turns, from the left first, and waits for each.
func (k *talk) exchange(texts ...string) {
	k.t.Helper()
	buf := make([]byte, 1<<16)
	for i, text := range texts {
		from, to := k.ends[i%2], k.ends[1-i%2]
		if _, err := from.WriteTo([]byte(text), to.LocalAddr()); err != nil {
			k.t.Fatal(err)
		}
		to.SetReadDeadline(deadline())
		if n, err := to.Read(buf); err != nil || string(buf[:n]) != text {
			k.t.Fatalf("%d bytes of %d arrived, %v", n, len(text), err)
		}
	}
}
