package ipq

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// Ports to which a rejecting handler refuses connections, ends them when data comes, and
// prohibits datagrams.
const (
	refusedPort    = 8001
	resetPort      = 8002
	prohibitedPort = 8003
)

// rejecting is that handler.
func rejecting(p *Packet) Verdict {
	f, seg := p.Flow(), p.Transport()
	switch {
	case f.DstPort == refusedPort, f.Protocol == protoUDP:
		return Reject
	case len(seg) > int(seg[12]>>4)*4:
		return RejectBoth
	}
	return Accept
}

// queueRejected queues what such a handler is for.
func queueRejected(t *testing.T, ns *netlab.NS, hook Hook, priority int32) {
	t.Helper()
	var rules []netlab.Rule
	for _, m := range []netlab.Match{
		{L4Proto: unix.IPPROTO_TCP, DstPort: refusedPort}, {L4Proto: unix.IPPROTO_TCP, DstPort: resetPort},
		{L4Proto: unix.IPPROTO_UDP, DstPort: prohibitedPort},
	} {
		rules = append(rules, netlab.Rule{Hook: netlab.Hook(hook), Priority: priority, Match: m, Queue: fakeNumber})
	}
	if _, err := ns.InstallQueue(rules...); err != nil {
		t.Fatal(err)
	}
}

// wantRefused connects to the port that refuses.
func wantRefused(t *testing.T, client *netlab.NS, addr string) {
	t.Helper()
	err := client.Do(func() error {
		d := net.Dialer{Timeout: time.Minute} // only reached by a failure
		c, err := d.Dial("tcp", net.JoinHostPort(addr, strconv.Itoa(refusedPort)))
		if err == nil {
			c.Close()
		}
		return err
	})
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a rejected connection: %v, want ECONNREFUSED", err)
	}
}

// wantReset sends data over a connection, to addr by way of which the server is to be
// reached, and expects it to end at both ends.
func wantReset(t *testing.T, client, server *netlab.NS, addr string) {
	t.Helper()
	port := strconv.Itoa(resetPort)
	var l net.Listener
	var out net.Conn
	err := server.Do(func() (err error) {
		l, err = net.Listen("tcp", ":"+port)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := client.Do(func() (err error) {
		out, err = net.Dial("tcp", net.JoinHostPort(addr, port))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := out.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]net.Conn{"client": out, "server": in} {
		c.SetDeadline(time.Now().Add(time.Minute)) // only reached by a failure
		if n, err := c.Read(make([]byte, 16)); n != 0 || !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the %s of a rejected segment reads %d bytes, %v, want ECONNRESET", name, n, err)
		}
	}
}

// wantProhibited sends a datagram.
func wantProhibited(t *testing.T, client *netlab.NS, addr string, want unix.Errno) {
	t.Helper()
	var c net.Conn
	err := client.Do(func() (err error) {
		c, err = net.Dial("udp", net.JoinHostPort(addr, strconv.Itoa(prohibitedPort)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(time.Minute)) // only reached by a failure
	if _, err := c.Read(make([]byte, 16)); !errors.Is(err, want) {
		t.Errorf("a rejected datagram: %v, want %v", err, want)
	}
}

// At every hook, for both families: who is rejected knows at once.
func TestKernelReject(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		for hook := Prerouting; hook <= Postrouting; hook++ {
			t.Run(fmt.Sprintf("%s/%v", mode.name, hook), func(t *testing.T) {
				n := labtest.NewNetwork(t)
				at := map[Hook]*netlab.NS{Prerouting: n.Server, Input: n.Server, Forward: n.Router, Output: n.Client, Postrouting: n.Client}[hook]
				queueRejected(t, at, hook, 0)
				q, stop := serve(t, Config{Queue: fakeNumber, NetNS: at.FD(), Workers: mode.workers, GSO: true}, HandlerFunc(rejecting))
				for _, v6 := range []bool{false, true} {
					addr, prohibited := serverAddr(v6), unix.EHOSTUNREACH
					if v6 {
						prohibited = unix.EACCES
					}
					wantRefused(t, n.Client, addr)
					wantReset(t, n.Client, n.Server, addr)
					wantProhibited(t, n.Client, addr, prohibited)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				s := q.Stats()
				// A segment that is sent again, because its answer takes its time, is rejected
				// again.
				if r := s.Rejects; r.Resets < 6 || r.Prohibitions != 2 || r.Exempt+r.Damaged+r.Unknown+r.Limited+r.Failed != 0 {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// On one host, by loopback.
func TestKernelRejectOnLoopback(t *testing.T) {
	t.Parallel()
	for _, hook := range []Hook{Prerouting, Input, Output, Postrouting} {
		t.Run(hook.String(), func(t *testing.T) {
			ns := labtest.New(t)
			queueRejected(t, ns, hook, 0)
			serve(t, Config{Queue: fakeNumber, NetNS: ns.FD()}, HandlerFunc(rejecting))
			for _, addr := range []string{"127.0.0.1", "::1"} {
				wantRefused(t, ns, addr)
				wantReset(t, ns, ns, addr)
			}
			wantProhibited(t, ns, "127.0.0.1", unix.EHOSTUNREACH)
			wantProhibited(t, ns, "::1", unix.EACCES)
		})
	}
}

// Connections whose addresses the router translates are answered in those that each end
// knows. The first packet takes a hook before its translation, or Config.Conntrack.
func TestKernelRejectTranslated(t *testing.T) {
	t.Parallel()
	const beforeDNAT = -150
	for _, x := range []struct {
		name     string
		addr     string // that the client connects to
		rules    func(t *testing.T, router *netlab.NS)
		hook     Hook
		priority int32
		ct       bool
		first    bool // the first packet is answered, too
	}{
		{"source, before", serverAddr(false), snatServer, Forward, 0, false, true},
		{"source, behind", serverAddr(false), snatServer, Postrouting, 150, false, false},
		{"source, behind, known", serverAddr(false), snatServer, Postrouting, 150, true, true},
		{"destination, before", "10.1.0.254", dnatServer, Prerouting, beforeDNAT, false, true},
		{"destination, behind", "10.1.0.254", dnatServer, Forward, 0, false, false},
		{"destination, behind, known", "10.1.0.254", dnatServer, Forward, 0, true, true},
		{"destination, last", "10.1.0.254", dnatServer, Postrouting, 150, true, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			n := labtest.NewNetwork(t)
			cfg := Config{Queue: fakeNumber, NetNS: n.Router.FD(), Conntrack: x.ct}
			probeOpen(t, cfg)
			x.rules(t, n.Router)
			queueRejected(t, n.Router, x.hook, x.priority)
			serve(t, cfg, HandlerFunc(rejecting))
			wantReset(t, n.Client, n.Server, x.addr)
			if x.first {
				wantRefused(t, n.Client, x.addr)
				wantProhibited(t, n.Client, x.addr, unix.EHOSTUNREACH)
			}
		})
	}
}

func snatServer(t *testing.T, router *netlab.NS) { translate(t, router, "10.2.0.254") }

// dnatServer has the router pass on to the server what comes to its own address.
func dnatServer(t *testing.T, router *netlab.NS) {
	t.Helper()
	translateAt(t, router, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: net.ParseIP("10.1.0.254").To4()},
		&expr.Immediate{Register: 1, Data: net.ParseIP(serverAddr(false)).To4()},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})
}

// Answers have the mark of Config.OwnMark, by which rules can pass them.
func TestKernelRejectIsMarked(t *testing.T) {
	t.Parallel()
	const mark = 0x1d
	ns := labtest.New(t)
	marked, err := ns.InstallCounter(netlab.Output, 100,
		netlab.Match{L4Proto: unix.IPPROTO_TCP, Mark: mark}, netlab.Match{L4Proto: unix.IPPROTO_ICMP, Mark: mark}, netlab.Match{L4Proto: unix.IPPROTO_ICMPV6, Mark: mark})
	if err != nil {
		t.Fatal(err)
	}
	queueRejected(t, ns, Output, 0)
	serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), OwnMark: mark}, HandlerFunc(rejecting))
	wantRefused(t, ns, "127.0.0.1")
	wantRefused(t, ns, "::1")
	wantProhibited(t, ns, "127.0.0.1", unix.EHOSTUNREACH)
	wantProhibited(t, ns, "::1", unix.EACCES)
	c, err := marked.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if c[0].Packets < 2 || c[1].Packets != 1 || c[2].Packets != 1 {
		t.Errorf("%+v", c)
	}
}

// Without CAP_NET_RAW a Queue works, and Reject is Drop.
func TestKernelRejectWithoutRights(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	u := newUDPPath(t, ns, "127.0.0.1")
	var q *Queue
	if err := ns.Do(func() (err error) {
		runtime.LockOSThread() // which dies with its goroutine, and with it its lack of rights
		if err = dropCapability(unix.CAP_NET_RAW); err == nil {
			q, err = Open(Config{Queue: fakeNumber})
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	u.send("packet")
	cancel, done := startRun(q, HandlerFunc(func(*Packet) Verdict { return Reject }))
	await(t, "the verdict", func() bool { return q.Stats().Dropped == 1 })
	cancel()
	if err := endOf(t, done); err != nil {
		t.Error(err)
	}
	if s := q.Stats(); s.Rejects != (Rejects{Failed: 1}) {
		t.Errorf("%+v", s)
	}
}
