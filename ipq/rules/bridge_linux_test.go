package rules

import (
	"errors"
	"net"
	"slices"
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
