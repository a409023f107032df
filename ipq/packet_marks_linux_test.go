package ipq

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/internal/zerocopy"
)

// SetMark changes the bits of its mask, of the mark that the packet came with.
func TestSetMark(t *testing.T) {
	tests := []struct {
		change func(p *Packet) Verdict
		want   uint32
		none   bool // no mark is sent
	}{
		{func(p *Packet) Verdict { p.SetMark(0xff05, 0xff); return Accept }, 0xabcd05, false},
		{func(p *Packet) Verdict { p.SetMark(5, 0xf); p.SetMark(0x1234, 0xff00); return Accept }, 0xab12e5, false},
		{func(p *Packet) Verdict { p.SetMark(7, ^uint32(0)); return Drop }, 7, false},
		{func(p *Packet) Verdict { p.SetMark(5, 0xf); return Accept.WithMark(9) }, 9, false},
		{func(p *Packet) Verdict { p.SetMark(5, 0xf); p.SetMark(0, 0); return Accept }, 0, true},
	}
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		_, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict {
			x := tests[p.ID()-1]
			v := x.change(p)
			if mark, ok := v.Mark(); !ok && !x.none && p.Mark() != x.want {
				t.Errorf("packet %d: mark %#x, verdict's %#x, want %#x", p.ID(), p.Mark(), mark, x.want)
			}
			return v
		})
		for i, x := range tests {
			v := f.verdict(f.queue(fakekernel.Packet{Mark: 0xabcde0, Payload: udp4(1, nil)}))
			got, ok := v.U32(zerocopy.AttrMark)
			if ok == x.none || got != x.want {
				t.Errorf("packet %d: the kernel got mark %#x, %v; want %#x", i+1, got, ok, x.want)
			}
		}
		stop()
	})
}

// Marks and labels of connections add up over calls, and end with their packet.
func TestSetConnMarkAndLabels(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		bit := func(n int) (l [16]byte) {
			l[n/8] = 1 << (n % 8)
			return l
		}
		_, stop := f.serve(Config{Workers: workers, Batches: 1}, func(p *Packet) Verdict {
			if p.ID() != 1 {
				return Accept
			}
			p.SetConnMark(0xff, 0xf)
			p.SetConnMark(0x12, 0xf0)
			for _, err := range []error{
				p.SetConnLabels(bit(0), bit(0)), p.SetConnLabels([16]byte{}, bit(1)), p.SetConnLabels(bit(127), bit(127)),
			} {
				if err != nil {
					t.Error(err)
				}
			}
			return Accept
		})
		v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		want := fakekernel.Attr(fakekernel.Attr(nil, 8, []byte{0, 0, 0, 0x1f}), 21, []byte{0, 0, 0, 0xff})
		value, mask := [16]byte{0: 1, 15: 0x80}, [16]byte{0: 3, 15: 0x80}
		want = fakekernel.Attr(fakekernel.Attr(want, 22, value[:]), 23, mask[:])
		if got := v.Attrs[zerocopy.AttrCT]; !bytes.Equal(got, want) {
			t.Errorf("% x\nwant % x", got, want)
		}
		if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); len(v.Attrs) != 0 {
			t.Errorf("the next packet's verdict: %v", v.Attrs)
		}
		stop()
	})
}

// A deferred packet keeps its labels when another comes in its place.
func TestDeferredLabels(t *testing.T) {
	f := newFake(t)
	deferred := make(chan *Deferred, 1)
	one, two := [16]byte{1}, [16]byte{2}
	_, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict {
		if p.ID() > 1 {
			p.SetConnLabels(two, two)
			return Accept
		}
		p.SetConnLabels(one, one)
		d, err := p.Defer()
		if err != nil {
			t.Error(err)
		}
		deferred <- d
		return Drop
	})
	first := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	d := <-deferred
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
	if err := d.Verdict(Accept); err != nil {
		t.Fatal(err)
	}
	want := fakekernel.Attr(fakekernel.Attr(nil, 22, one[:]), 23, one[:])
	if got := f.verdict(first).Attrs[zerocopy.AttrCT]; !bytes.Equal(got, want) {
		t.Errorf("% x\nwant % x", got, want)
	}
	stop()
}

// All that SetVerdictWith sends with a verdict.
func TestConnSetVerdictWith(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	id := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	if _, err := c.Read(0); err != nil {
		t.Fatal(err)
	}
	payload := udp4(2, []byte("text"))
	payload[27] ^= 1 // of the checksum
	label := [16]byte{3: 4}
	if err := c.SetVerdictWith(id, Accept.WithMark(5), VerdictOptions{
		Payload: payload, KeepChecksums: true, ConnMark: 6, ConnMask: 7, ConnLabels: label, ConnLabelsMask: label,
		Priority: 8, HasPriority: true, VLANProto: 0x8100, VLANTCI: 9, HasVLAN: true,
	}); err != nil {
		t.Fatal(err)
	}
	v := f.verdict(id)
	ct := fakekernel.Attr(fakekernel.Attr(nil, 8, []byte{0, 0, 0, 6}), 21, []byte{0, 0, 0, 7})
	ct = fakekernel.Attr(fakekernel.Attr(ct, 22, label[:]), 23, label[:])
	for typ, want := range map[uint16][]byte{
		zerocopy.AttrMark: {0, 0, 0, 5}, zerocopy.AttrPriority: {0, 0, 0, 8}, zerocopy.AttrCT: ct, zerocopy.AttrPayload: payload,
		zerocopy.AttrVLAN: fakekernel.Attr(fakekernel.Attr(nil, 2, []byte{0, 9}), 1, []byte{0x81, 0}),
	} {
		if !bytes.Equal(v.Attrs[typ], want) {
			t.Errorf("attribute %d: % x, want % x", typ, v.Attrs[typ], want)
		}
	}
	// Of the connection nothing is known: it may be translated.
	err := c.SetVerdictWith(1, Accept, VerdictOptions{Payload: ack(t), ConnMark: 1, ConnMask: 1})
	if !errors.Is(err, ErrUndeliverable) {
		t.Errorf("TCP with a connection mark: %v", err)
	}
	id = f.queue(fakekernel.Packet{Payload: ack(t)})
	if err := c.SetVerdictWith(id, Accept, VerdictOptions{Payload: ack(t), ConnMark: 1, ConnMask: ^uint32(0), KeepsSequence: true}); err != nil {
		t.Errorf("TCP of the same length with a connection mark: %v", err)
	}
	if v := f.verdict(id); !bytes.Equal(v.Payload(), ack(t)) || !bytes.Equal(v.Attrs[zerocopy.AttrCT], fakekernel.Attr(nil, 8, []byte{0, 0, 0, 1})) {
		t.Errorf("TCP of the same length with a connection mark: %+v", v)
	}
}

// A decision is how a handler decides for a whole connection, and how rules know it.
type decision struct {
	name   string
	cfg    Config
	decide func(p *Packet, generation int, v Verdict) error
	// is selects connections that were decided so, in that generation of the policy.
	is func(generation int, v Verdict) nftexpr.Condition
	// later is a rule of the chain behind the queue's.
	later []expr.Any
}

const (
	generationShift = 8
	decidedMask     = 0xff03
)

// connMark is the mark of a connection that was decided.
func connMark(generation int, v Verdict) uint32 {
	return uint32(generation)<<generationShift | uint32(v.Kind())
}

// label is that of a connection that was decided.
func label(generation int, v Verdict) (l [16]byte) {
	l[generation] = 1 << v.Kind()
	return l
}

var decisions = []decision{
	{
		name: "connection mark",
		cfg:  Config{Conntrack: true},
		decide: func(p *Packet, generation int, v Verdict) error {
			return p.SetConnMark(connMark(generation, v), decidedMask)
		},
		is: func(generation int, v Verdict) nftexpr.Condition {
			return nftexpr.ConnMark.Is(connMark(generation, v), decidedMask)
		},
	},
	{
		name: "label",
		cfg:  Config{Conntrack: true},
		decide: func(p *Packet, generation int, v Verdict) error {
			return p.SetConnLabels(label(generation, v), label(generation, v))
		},
		is: func(generation int, v Verdict) nftexpr.Condition {
			l := label(generation, v)
			return nftexpr.Condition{
				&expr.Ct{Key: expr.CtKeyLABELS, Register: 1},
				&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 16, Mask: l[:], Xor: make([]byte, 16)},
				&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 16)},
			}
		},
	},
	{
		// For kernels without conntrack attributes. A packet that is dropped comes to
		// no rule, so this one only passes connections.
		name: "packet mark",
		decide: func(p *Packet, generation int, v Verdict) error {
			p.SetMark(connMark(generation, v), decidedMask)
			return nil
		},
		is: func(generation int, v Verdict) nftexpr.Condition {
			return nftexpr.ConnMark.Is(connMark(generation, v), decidedMask)
		},
		later: slices.Concat(nftexpr.PacketMark.Is(0, decidedMask).Not(), []expr.Any{ // else the next packet would undo it
			&expr.Meta{Key: expr.MetaKeyMARK, Register: unix.NFT_REG32_00},
			&expr.Ct{Key: expr.CtKeyMARK, Register: unix.NFT_REG32_00, SourceRegister: true},
		}),
	},
}

// A connection passes, or stops, by one packet's decision, and all such decisions end
// when the policy changes.
func TestKernelDecidesConnections(t *testing.T) {
	t.Parallel()
	for _, d := range decisions {
		t.Run(d.name, func(t *testing.T) {
			ns := labtest.New(t)
			cfg := d.cfg
			cfg.Queue, cfg.NetNS, cfg.Workers = fakeNumber, ns.FD(), Inline
			probeOpen(t, cfg)
			r := newPolicy(t, ns, d)
			u := pathFor(t, ns, "127.0.0.1")
			var handled atomic.Int64
			q, stop := serve(t, cfg, HandlerFunc(func(p *Packet) Verdict {
				handled.Add(1)
				generation, v := r.now()
				if err := d.decide(p, generation, v); err != nil {
					t.Error(err)
				}
				return v
			}))
			deliver := func(text string, want int64) {
				t.Helper()
				u.send(text)
				if got := u.receive(); got != text || handled.Load() != want {
					t.Errorf("%q arrived, want %q; %d packets handled, want %d", got, text, handled.Load(), want)
				}
			}
			r.change(1, Accept)
			deliver("first", 1)
			deliver("second", 1)
			deliver("third", 1)
			r.change(2, Accept)
			deliver("after a change", 2)
			deliver("and again", 2)
			want := int64(2)
			if d.later == nil {
				r.change(3, Drop)
				u.send("stops")
				await(t, "the verdict", func() bool { return q.Stats().Dropped == 1 })
				// By a rule, at a hook where the sender is told.
				if _, err := u.from.Write([]byte("is stopped")); !errors.Is(err, unix.EPERM) {
					t.Errorf("the connection goes on: %v", err)
				}
				want++
				r.change(4, Accept)
				want++
				deliver("passes again", want)
			}
			// The number of a policy comes around: its decisions of then hold again, unless
			// they were forgotten.
			generation := 5
			for _, f := range forgets {
				if d.name == "label" && !f.labels {
					continue
				}
				r.change(generation, Accept)
				want++
				deliver("decided", want)
				r.change(generation+1, Accept)
				r.change(generation, Accept)
				deliver("by its number of then", want)
				f.do(t, ns)
				want++
				deliver("after "+f.name, want)
				deliver("decided anew", want)
				generation += 2
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if n := handled.Load(); n != want {
				t.Errorf("%d packets handled, want %d", n, want)
			}
		})
	}
}

// A policy is rules that decide connections as a decision's handler has, and its
// present generation.
type policy struct {
	t        *testing.T
	ns       *netlab.NS
	decision decision
	nft      *nftables.Conn
	queue    expr.Any
	chain    *nftables.Chain

	mu         sync.Mutex // of what follows
	generation int
	verdict    Verdict
}

func newPolicy(t *testing.T, ns *netlab.NS, d decision) *policy {
	t.Helper()
	nft, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	r := &policy{t: t, ns: ns, decision: d, nft: nft}
	if err := ns.Do(func() error {
		native, err := nftexpr.ProbeQueue(nft)
		r.queue = nftexpr.Queue{First: fakeNumber, Count: 1}.Expr(native)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	table := nft.AddTable(&nftables.Table{Name: "policy", Family: nftables.TableFamilyINet})
	r.chain = nft.AddChain(nftexpr.BaseChain(table, "decide", *nftables.ChainHookOutput, 0))
	later := nft.AddChain(nftexpr.BaseChain(table, "later", *nftables.ChainHookOutput, 1))
	if d.later != nil {
		nft.AddRule(nftexpr.Rule(later, d.later))
	}
	asks := nft.AddChain(&nftables.Chain{Name: "asks", Table: table}) // for labels, at no hook
	nft.AddRule(nftexpr.Rule(asks, setLabel(0)))
	if err := ns.Do(nft.Flush); errors.Is(err, unix.ENOENT) {
		t.Skipf("this kernel has no ct expression of nft: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return r
}

// setLabel sets one of the labels of a packet's connection.
func setLabel(n int) []expr.Any {
	var l [16]byte
	l[n/8] = 1 << (n % 8)
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: l[:]},
		&expr.Ct{Key: expr.CtKeyLABELS, Register: 1, SourceRegister: true},
	}
}

// change makes the rules those of the next generation, in one transaction, in which the
// chain stays.
func (r *policy) change(generation int, v Verdict) {
	r.t.Helper()
	r.mu.Lock()
	r.generation, r.verdict = generation, v
	r.mu.Unlock()
	is := func(v Verdict) []expr.Any { return r.decision.is(generation, v) }
	udp := append(nftexpr.Protocol(unix.IPPROTO_UDP), nftexpr.DstPort(udpPort)...)
	r.nft.FlushChain(r.chain)
	r.nft.AddRule(nftexpr.Rule(r.chain, is(Accept), []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}))
	r.nft.AddRule(nftexpr.Rule(r.chain, is(Drop), []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}))
	r.nft.AddRule(nftexpr.Rule(r.chain, udp, []expr.Any{r.queue}))
	if err := r.ns.Do(r.nft.Flush); err != nil {
		r.t.Fatal(err)
	}
}

// now returns the present generation, and what its handler decides.
func (r *policy) now() (generation int, v Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.generation, r.verdict
}

// While no rule sets labels, connections have none, and SetConnLabels says so.
func TestKernelLabelsNeedARule(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	u := newUDPPath(t, ns, "127.0.0.1")
	answers := make(chan error, 1)
	serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline}, HandlerFunc(func(p *Packet) Verdict {
		answers <- p.SetConnLabels([16]byte{1}, [16]byte{1})
		return Accept
	}))
	ask := func() error {
		u.send("packet")
		u.receive()
		return <-answers
	}
	if err := ask(); !errors.Is(err, ErrNoLabels) {
		t.Errorf("without a rule: %v", err)
	}
	nft, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	table := nft.AddTable(&nftables.Table{Name: "labels", Family: nftables.TableFamilyINet})
	nft.AddRule(nftexpr.Rule(nft.AddChain(&nftables.Chain{Name: "labels", Table: table}), setLabel(127)))
	if err := ns.Do(nft.Flush); errors.Is(err, unix.ENOENT) {
		t.Skipf("this kernel has no ct expression of nft: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	await(t, "labels", func() bool { return ask() == nil }) // an answer is believed for a second
	nft.DelTable(table)
	if err := ns.Do(nft.Flush); err != nil {
		t.Fatal(err)
	}
	await(t, "no labels", func() bool { return errors.Is(ask(), ErrNoLabels) })
}
