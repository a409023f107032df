package bypass

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/ipq"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A packet that waits in the queue keeps its own verdict, and those of its flow
// that come after settling pass it. Whatever is done to the table, packets in
// queues are safe: no rule and no hook changes.
func TestWaitingPacketsKeepTheirVerdicts(t *testing.T) {
	ns := labtest.New(t)
	b := newBypasser(t, ns, Config{Backend: EBPF})
	install(t, b, Rules{Hook: ipq.Output, Match: udp})
	p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
	waiting, decide := make(chan struct{}), make(chan struct{})
	q, stop := serve(t, ns, b, ipq.Config{Workers: ipq.Inline}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		waiting <- struct{}{}
		<-decide
		return ipq.Accept
	}))
	send(t, p.a, p.b, "first")
	<-waiting
	table := b.Table()
	if err := table.Insert(p.flow(), ipq.Accept, Limits{}); err != nil {
		t.Fatal(err)
	}
	send(t, p.a, p.b, "second")
	if got := receive(t, p.b); got != "second" {
		t.Errorf("received %q first", got)
	}
	if err := table.Insert(p.flow(), ipq.Drop, Limits{}); err != nil {
		t.Error(err)
	}
	if err := table.Iterate(func(ipq.Flow, Entry) bool { return true }); err != nil {
		t.Error(err)
	}
	if err := table.Delete(p.flow()); err != nil {
		t.Error(err)
	}
	if err := table.Flush(); err != nil {
		t.Error(err)
	}
	decide <- struct{}{}
	if got := receive(t, p.b); got != "first" {
		t.Errorf("received %q, then", got)
	}
	stop()
	if s := q.Stats(); s.Received != 1 || s.UnknownVerdicts != 0 {
		t.Errorf("%+v", s)
	}
}

// A settled flow of UDP lets in no packet of another protocol that is made to
// look like it: next header 139 is HIP, and what follows its first eight bytes no
// UDP header, though all of it has the shape of one more extension header.
func TestForgedHeadersAreQueued(t *testing.T) {
	ns := labtest.New(t)
	b := newBypasser(t, ns, Config{Backend: EBPF})
	install(t, b, Rules{Hook: ipq.Prerouting})
	queued := make(chan ipq.Flow, 16)
	_, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		f := p.Flow()
		queued <- f
		if f.Protocol == unix.IPPROTO_UDP && f.SrcPort == 53 {
			return ipq.Accept.Bypass()
		}
		return ipq.Drop
	}))
	p := newPair(t, ns, "[::1]:53", ns, "[::1]:9000")
	send(t, p.a, p.b, "honest")
	receive(t, p.b)
	raw := -1
	if err := ns.Do(func() (err error) {
		raw, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(raw)
	for _, next := range []byte{135, 139, 140} {
		ip := ip6(next, []byte{17, 0, 1, 1, 0, 0, 0, 0, 0, 53, 0x23, 0x28, 0, 8, 0, 0}, []byte("EVIL"))
		clear(ip[8:40])
		ip[23], ip[39] = 1, 1
		if err := unix.Sendto(raw, ip, 0, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	want := []uint8{unix.IPPROTO_UDP, 135, 139, 140}
	var got []uint8
	for range want {
		select {
		case f := <-queued:
			if f.Unknown {
				t.Errorf("%v is unknown", f)
			}
			got = append(got, f.Protocol)
		case <-time.After(patience):
			t.Fatalf("protocols %d queued, want %d", got, want)
		}
	}
	slices.Sort(got) // they were sent from any CPU
	if !slices.Equal(got, want) {
		t.Errorf("protocols %d queued, want %d", got, want)
	}
	send(t, p.a, p.b, "honest too") // which is settled
	if got := receive(t, p.b); got != "honest too" {
		t.Errorf("%q", got)
	}
	stop()
	if n := len(queued); n > 0 {
		t.Errorf("%d more packets were queued, the first %v", n, <-queued)
	}
}

// Fragments have no ports, or none of their own: all are queued, also those of
// a settled flow.
func TestFragmentsAreQueued(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		ns := labtest.New(t)
		if err := ns.SetMTU("lo", 1500); err != nil {
			t.Fatal(err)
		}
		b := newBypasser(t, ns, Config{Backend: EBPF})
		// Before input, where the kernel puts datagrams together.
		install(t, b, Rules{Hook: ipq.Prerouting, Match: udp})
		p := newPair(t, ns, addr, ns, addr)
		var fragments, others atomic.Uint64
		_, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
			if p.Flow().Fragment {
				fragments.Add(1)
			} else {
				others.Add(1)
			}
			return ipq.Accept.Bypass()
		}))
		for range 3 {
			p.exchange(t)
			send(t, p.a, p.b, strings.Repeat("x", 4000))
			if got := receive(t, p.b); len(got) != 4000 {
				t.Errorf("%s: %d bytes", addr, len(got))
			}
		}
		stop()
		if fragments.Load() != 9 || others.Load() != 1 {
			t.Errorf("%s: %d fragments and %d others queued, want 9 and 1", addr, fragments.Load(), others.Load())
		}
	}
}

// Where the kernel puts datagrams together first, as connection tracking has it
// do, there are no fragments: the flow is settled whole.
func TestReassembledDatagramsAreSettled(t *testing.T) {
	for _, addrs := range [][2]string{{"10.1.0.1:0", "10.2.0.1:0"}, {"[fd01::1]:0", "[fd02::1]:0"}} {
		n := labtest.NewNetwork(t)
		ns := n.Router
		// Its rules have the namespace's connections tracked.
		install(t, newBypasser(t, ns, Config{Backend: ConnMark}), Rules{Table: "tracked", Hook: ipq.Postrouting, Match: []Match{{Protocol: unix.IPPROTO_TCP}}})
		b := newBypasser(t, ns, Config{Backend: EBPF})
		install(t, b, Rules{Hook: ipq.Prerouting, Match: udp})
		p := newPair(t, n.Client, addrs[0], n.Server, addrs[1])
		q, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
			if p.Flow().Fragment {
				t.Error("a fragment was queued")
			}
			return ipq.Accept.Bypass()
		}))
		for range 3 {
			send(t, p.a, p.b, strings.Repeat("x", 4000))
			if got := receive(t, p.b); len(got) != 4000 {
				t.Errorf("%s: %d bytes", addrs[0], len(got))
			}
		}
		stop()
		if s := q.Stats(); s.Received != 1 || s.Bypassed != 1 {
			t.Errorf("%s: %d packets queued, %d bypassed, want 1", addrs[0], s.Received, s.Bypassed)
		}
	}
}

// Hooks that come and go disturb packets that wait: an Install that fails
// touches none.
func TestFailedInstallLeavesWaitingPackets(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend Backend) {
		ns := labtest.New(t)
		b := newBypasser(t, ns, Config{Backend: backend})
		rules := install(t, b, Rules{Hook: ipq.Output, Match: udp})
		p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
		waiting, decide := make(chan struct{}), make(chan struct{})
		_, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
			waiting <- struct{}{}
			<-decide
			return ipq.Accept
		}))
		send(t, p.a, p.b, "waiting")
		<-waiting
		want := fs.ErrExist
		if backend == NFTSet { // which has one table at a time
			want = errors.ErrUnsupported
		}
		if _, err := b.Install(Rules{Hook: ipq.Output, Priority: -10}); !errors.Is(err, want) {
			t.Errorf("a second table of that name: %v", err)
		}
		decide <- struct{}{}
		if got := receive(t, p.b); got != "waiting" {
			t.Errorf("received %q", got)
		}
		stop()
		if c, err := rules.Counters(); err != nil || c.Queued.Packets != 1 {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

// An ICMP error is about a flow, and belongs to none.
func TestICMPErrorsAreQueued(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		ns := labtest.New(t)
		b := newBypasser(t, ns, Config{Backend: EBPF})
		install(t, b, Rules{Hook: ipq.Input})
		p := newPair(t, ns, addr, ns, addr)
		reports := make(chan ipq.Flow, 10)
		_, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
			if isICMP(p.Flow().Protocol) {
				reports <- p.Flow()
			}
			return ipq.Accept.Bypass()
		}))
		p.exchange(t)
		p.b.Close()
		for range 3 {
			if _, err := p.a.WriteToUDPAddrPort([]byte("nobody home"), addrOf(p.b)); err != nil {
				t.Fatal(err)
			}
			<-reports
		}
		stop()
	}
}

// Address translation: behind it, at Forward, both directions of a flow have
// one tuple. In front of it, at Prerouting, they have two; then the other
// direction is settled for itself, never by mistake.
func TestNAT(t *testing.T) {
	for _, tt := range []struct {
		hook   ipq.Hook
		queued uint64
	}{{ipq.Forward, 1}, {ipq.Prerouting, 2}} {
		t.Run(tt.hook.String(), func(t *testing.T) {
			n := labtest.NewNetwork(t)
			b := newBypasser(t, n.Router, Config{Backend: EBPF})
			install(t, b, Rules{Hook: tt.hook, Priority: -150, Match: udp}) // mangle's: before destinations are translated
			masquerade(t, n.Router, "server")
			q, stop := serve(t, n.Router, b, ipq.Config{}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() }))
			p := newPair(t, n.Client, "10.1.0.1:0", n.Server, "10.2.0.1:0")
			const rounds = 5
			for range rounds {
				send(t, p.a, p.b, "there")
				buf := make([]byte, 64)
				_, from, err := p.b.ReadFromUDPAddrPort(buf)
				if err != nil || from.Addr().Unmap().String() != "10.2.0.254" {
					t.Fatalf("from %v, %v: not translated", from, err)
				}
				if _, err := p.b.WriteToUDPAddrPort([]byte("back"), from); err != nil {
					t.Fatal(err)
				}
				receive(t, p.a)
			}
			stop()
			if s := q.Stats(); s.Received != tt.queued {
				t.Errorf("%d packets queued, want %d", s.Received, tt.queued)
			}
			if c := mustCount(t, b.Table()); c.AcceptedPackets != 2*rounds-tt.queued {
				t.Errorf("%+v", c)
			}
		})
	}
}

// masquerade hides what leaves by the link behind the router's address.
func masquerade(t *testing.T, router *netlab.NS, link string) {
	t.Helper()
	nft, err := nftables.New(nftables.WithNetNSFd(router.FD()))
	if err != nil {
		t.Fatal(err)
	}
	table := nft.AddTable(&nftables.Table{Name: "nat", Family: nftables.TableFamilyIPv4})
	chain := nft.AddChain(&nftables.Chain{
		Name: "post", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	nft.AddRule(nftexpr.Rule(chain, nftexpr.OutDev(link), []expr.Any{&expr.Masq{}}))
	if err := nft.Flush(); err != nil {
		t.Fatal(err)
	}
}

// GSO super-packets, whose data is not in the linear part of the buffer, are
// decided, too.
func TestTCPWithGSO(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend Backend) {
		if backend == EBPF {
			needBPF(t)
		}
		n := labtest.NewNetwork(t)
		b := newBypasser(t, n.Router, Config{Backend: backend})
		rules := install(t, b, Rules{Hook: ipq.Forward, Match: []Match{{Protocol: protoTCP}}})
		handler, err := b.Inspect(ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept }), Inspection{Packets: 10})
		if err != nil {
			t.Fatal(err)
		}
		q, stop := serve(t, n.Router, b, ipq.Config{GSO: true}, handler)
		const size = 32 << 20
		transfer(t, n, size)
		stop()
		c, err := rules.Counters()
		s := q.Stats()
		if err != nil || c.Accepted.Packets == 0 || c.Accepted.Bytes < size/2 || c.Queued.Packets != s.Received {
			t.Errorf("%+v, %v", c, err)
		}
		if s.Received < 10 || s.Received > 2000 || s.Bypassed == 0 || s.BypassFailed != 0 {
			t.Errorf("queue: %d packets, %d bypassed, %d failed", s.Received, s.Bypassed, s.BypassFailed)
		}
	})
}
