package ipq

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

// tuple returns a CTA_TUPLE_* nest; ids are members of CTA_TUPLE_PROTO.
func tuple(typ uint16, src, dst string, proto byte, ids ...attr) attr {
	from, to := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	first := uint16(1) // CTA_IP_V4_SRC
	if from.Is6() {
		first = 3 // CTA_IP_V6_SRC
	}
	return attr{typ: typ, nest: []attr{
		{typ: 1, nest: []attr{{typ: first, value: from.AsSlice()}, {typ: first + 1, value: to.AsSlice()}}},
		{typ: 2, nest: append([]attr{{typ: 1, value: []byte{proto}}}, ids...)},
	}}
}

// The connection of a packet, here one with source address translation.
func TestConntrack(t *testing.T) {
	ports := func(src, dst uint16) []attr {
		return []attr{{typ: 2, value: be16(src)}, {typ: 3, value: be16(dst)}}
	}
	labels := [16]byte{0: 1, 15: 0x80}
	nest := []attr{
		tuple(1, "192.0.2.1", "198.51.100.2", 6, ports(40000, 443)...),
		tuple(2, "198.51.100.2", "203.0.113.3", 6, ports(443, 50000)...),
		{typ: 3, value: be32(0x18e)},                                                  // CTA_STATUS
		{typ: 7, value: be32(431999)},                                                 // CTA_TIMEOUT
		{typ: 8, value: be32(0xfeed)},                                                 // CTA_MARK
		{typ: 12, value: be32(0xdeadbeef)},                                            // CTA_ID
		{typ: 18, value: be16(9)},                                                     // CTA_ZONE
		{typ: 22, value: labels[:]},                                                   // CTA_LABELS
		{typ: 9, nest: []attr{{typ: 1, value: be64(11)}, {typ: 2, value: be64(12)}}},  // CTA_COUNTERS_ORIG
		{typ: 10, nest: []attr{{typ: 1, value: be64(13)}, {typ: 2, value: be64(14)}}}, // CTA_COUNTERS_REPLY
		{typ: 20, nest: []attr{{typ: 1, value: be64(1_700_000_000_000_000_015)}}},     // CTA_TIMESTAMP
		{typ: 4, nest: []attr{{typ: 1, nest: []attr{{typ: 1, value: []byte{7}}}}}},    // CTA_PROTOINFO of TCP
	}
	want := Conntrack{
		ID: 0xdeadbeef, State: CTEstablishedReply, Status: 0x18e, Mark: 0xfeed, Zone: 9, Labels: labels, Timeout: 431999 * time.Second,
		Orig: Flow{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.51.100.2"),
			SrcPort: 40000, DstPort: 443, Protocol: 6},
		Reply: Flow{Src: netip.MustParseAddr("198.51.100.2"), Dst: netip.MustParseAddr("203.0.113.3"),
			SrcPort: 443, DstPort: 50000, Protocol: 6},
		OrigCount: ConntrackCount{11, 12}, ReplyCount: ConntrackCount{13, 14}, Start: time.Unix(1_700_000_000, 15), ProtocolState: 7,
	}
	look(t, encode(attr{typ: zerocopy.AttrCT, nest: nest}, attr{typ: zerocopy.AttrCTInfo, value: be32(3)}), func(p *Packet) {
		if got, ok := p.Conntrack(); !ok || got != want {
			t.Errorf("%+v, %v\nwant %+v", got, ok, want)
		}
	})

	// The kernel sends the nest and the state, or neither; a nest that breaks
	// off is none.
	for what, attrs := range map[string][]byte{
		"no state": encode(attr{typ: zerocopy.AttrCT, nest: nest}),
		"broken nest": encode(attr{typ: zerocopy.AttrCT, nest: []attr{{typ: 12, value: []byte{1}}}},
			attr{typ: zerocopy.AttrCTInfo, value: be32(0)}),
	} {
		look(t, attrs, func(p *Packet) {
			if ct, ok := p.Conntrack(); ok || ct != (Conntrack{}) {
				t.Errorf("%s: %+v, %v", what, ct, ok)
			}
		})
	}
}

// The identifier of an echo takes the place of both ports, as in the flow of
// the packet itself.
func TestConntrackOfEchoes(t *testing.T) {
	for _, x := range []struct {
		src, dst string
		proto    byte
		id       uint16 // CTA_PROTO_ICMP_ID, CTA_PROTO_ICMPV6_ID
	}{{"192.0.2.1", "192.0.2.2", 1, 4}, {"2001:db8::1", "2001:db8::2", 58, 7}} {
		nest := []attr{
			tuple(1, x.src, x.dst, x.proto, attr{typ: x.id, value: be16(77)}),
			tuple(2, x.dst, x.src, x.proto, attr{typ: x.id, value: be16(77)}),
		}
		look(t, encode(attr{typ: zerocopy.AttrCT, nest: nest}, attr{typ: zerocopy.AttrCTInfo, value: be32(2)}), func(p *Packet) {
			ct, ok := p.Conntrack()
			want := Flow{Src: netip.MustParseAddr(x.src), Dst: netip.MustParseAddr(x.dst), SrcPort: 77, DstPort: 77, Protocol: x.proto}
			if !ok || ct.State != CTNew || ct.Orig != want || ct.Reply != want.Reverse() {
				t.Errorf("%+v, %v", ct, ok)
			}
		})
	}
}

// probeOpen skips the test where the kernel does not have what cfg asks for, such as
// conntrack attributes.
func probeOpen(t *testing.T, cfg Config) {
	t.Helper()
	q, err := Open(cfg)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	q.Close()
}

// track makes the kernel track connections in ns: it does so as soon as there
// is a rule that asks for them, even in a chain at no hook.
func track(t *testing.T, ns *netlab.NS) {
	t.Helper()
	nft, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	table := nft.AddTable(&nftables.Table{Name: "track", Family: nftables.TableFamilyINet})
	chain := nft.AddChain(&nftables.Chain{Name: "track", Table: table})
	nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: unix.NFT_REG32_00},
	}})
	if err := ns.Do(nft.Flush); errors.Is(err, unix.ENOENT) {
		t.Skip("this kernel has no ct expression of nft")
	} else if err != nil {
		t.Fatal(err)
	}
}

// What the kernel tells of a connection, and the marks that it takes.
func TestKernelConntrack(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		cfg := Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers, Conntrack: true}
		probeOpen(t, cfg)
		track(t, ns)
		u := newUDPPath(t, ns, "127.0.0.1")
		steps := []struct {
			text       string
			state      ConntrackState
			before     uint32 // ct mark
			mark, mask uint32 // for SetConnMark
		}{
			{"first", CTNew, 0, 0xabcd, 0x0ff0},
			{"no answer yet", CTNew, 0xbc0, 0xff05, 0xf},
			{"answered", CTEstablished, 0xbc5, 0xffff, 0},
			{"the same", CTEstablished, 0xbc5, 0, ^uint32(0)},
			{"cleared", CTEstablished, 0, 0, 0},
		}
		n, id := 0, uint32(0)
		_, stop := serve(t, cfg, HandlerFunc(func(p *Packet) Verdict {
			want := steps[n]
			ct, ok := p.Conntrack()
			if !ok || ct.State != want.state || ct.Mark != want.before || ct.Zone != 0 {
				t.Errorf("%s: %+v, %v; want %v, mark %#x", want.text, ct, ok, want.state, want.before)
			}
			if ct.Orig != p.Flow() || ct.Reply != p.Flow().Reverse() {
				t.Errorf("%s: %v and %v of %v", want.text, ct.Orig, ct.Reply, p.Flow())
			}
			if n == 0 {
				id = ct.ID
			}
			if ct.ID != id || id == 0 {
				t.Errorf("%s: id %#x, at first %#x", want.text, ct.ID, id)
			}
			if ct.Timeout <= 0 || ct.Timeout > time.Hour {
				t.Errorf("%s: timeout %v", want.text, ct.Timeout)
			}
			p.SetConnMark(want.mark, want.mask)
			return Accept
		}))
		for i, s := range steps {
			if s.state == CTEstablished && steps[i-1].state == CTNew {
				u.answer()
			}
			u.send(s.text)
			if got := u.receive(); got != s.text {
				t.Fatalf("%q arrived, want %q", got, s.text)
			}
			n++ // the handler runs between send and receive
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// The raw attributes are those that the kernel has sent, or nil.
func TestConntrackBytes(t *testing.T) {
	nest := encode(attr{typ: 8, value: be32(0xfeed)}, attr{typ: 12, value: be32(7)}) // CTA_MARK, CTA_ID
	look(t, encode(attr{typ: zerocopy.AttrCT, value: nest}, attr{typ: zerocopy.AttrCTInfo, value: be32(3)}), func(p *Packet) {
		if got := p.ConntrackBytes(); !bytes.Equal(got, nest) || cap(got) != len(got) {
			t.Errorf("% x, want % x", got, nest)
		}
	})
	look(t, nil, func(p *Packet) {
		if got := p.ConntrackBytes(); got != nil {
			t.Errorf("% x of a packet without a connection", got)
		}
	})
}

// States have the names of their protocol.
func TestProtocolStateName(t *testing.T) {
	for _, x := range []struct {
		protocol, state uint8
		want            string
	}{{6, 3, "ESTABLISHED"}, {6, 9, "SYN_SENT2"}, {6, 10, ""}, {132, 2, "COOKIE_WAIT"}, {33, 4, "OPEN"}, {17, 0, ""}} {
		c := Conntrack{Orig: Flow{Protocol: x.protocol}, ProtocolState: x.state}
		if got := c.ProtocolStateName(); got != x.want {
			t.Errorf("protocol %d, state %d: %q, want %q", x.protocol, x.state, got, x.want)
		}
	}
}

// With accounting and timestamps the kernel counts, tells since when, and knows TCP's state.
func TestKernelConntrackCounts(t *testing.T) {
	ns := labtest.New(t)
	cfg := Config{Queue: fakeNumber, NetNS: ns.FD(), Conntrack: true, Workers: Inline}
	probeOpen(t, cfg)
	track(t, ns)
	for _, name := range []string{"net.netfilter.nf_conntrack_acct", "net.netfilter.nf_conntrack_timestamp"} {
		if err := ns.Sysctl(name, "1"); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			t.Skipf("this kernel has no %s in a namespace: %v", name, err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ns.InstallQueue(netlab.Rule{Hook: netlab.Output, Match: netlab.Match{L4Proto: unix.IPPROTO_TCP}, Queue: fakeNumber}); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-time.Minute)
	var last Conntrack
	var states []string
	_, stop := serve(t, cfg, HandlerFunc(func(p *Packet) Verdict {
		ct, ok := p.Conntrack()
		if !ok {
			t.Error("a packet without its connection")
			return Accept
		}
		if name := ct.ProtocolStateName(); len(states) == 0 || states[len(states)-1] != name {
			states = append(states, name)
		}
		if ct.OrigCount.Packets+ct.ReplyCount.Packets < last.OrigCount.Packets+last.ReplyCount.Packets {
			t.Errorf("counts go back: %+v, before %+v", ct, last)
		}
		last = ct
		return Accept
	}))
	data := make([]byte, 100_000)
	if got := overTCP(t, ns, data); len(got) != len(data) {
		t.Errorf("%d bytes arrived", len(got))
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if last.OrigCount.Packets == 0 || last.ReplyCount.Packets == 0 || last.OrigCount.Bytes < uint64(len(data)) {
		t.Errorf("counted %+v and %+v", last.OrigCount, last.ReplyCount)
	}
	if last.Start.Before(before) || last.Start.After(time.Now()) {
		t.Errorf("began at %v", last.Start)
	}
	if len(states) < 3 || states[0] != "SYN_SENT" || !slices.Contains(states, "ESTABLISHED") {
		t.Errorf("states %q", states)
	}
}
