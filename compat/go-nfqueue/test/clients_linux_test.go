//lint:file-ignore SA1019 clients call what is deprecated

package test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	nfqueue "github.com/florianl/go-nfqueue/v2"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
)

// The calls of products, in their order. Each was built and run with the drop-in by hand
// where docs/from-go-nfqueue.md says so; none of their code is here.

// track has the kernel track connections in a namespace and, with label, give them labels.
func track(t *testing.T, ns *netlab.NS, label bool) {
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
	if label {
		nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Immediate{Register: unix.NFT_REG_1, Data: make([]byte, 16)},
			&expr.Ct{Key: expr.CtKeyLABELS, Register: unix.NFT_REG_1, SourceRegister: true},
		}})
	}
	if err := ns.Do(nft.Flush); errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("this kernel has no such ct expression of nft: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// ctAttribute returns an attribute CTA_* of a packet's connection.
func ctAttribute(t *testing.T, a nfqueue.Attribute, typ uint16) []byte {
	t.Helper()
	attrs, err := netlink.UnmarshalAttributes(*a.Ct)
	if err != nil {
		t.Error(err)
	}
	for _, x := range attrs {
		if x.Type == typ {
			return slices.Clone(x.Data)
		}
	}
	return nil
}

const (
	ctaMark   = 8
	ctaID     = 12
	ctaLabels = 22
)

// As OpenGFW: connections by their id to workers, packets altered, marks of connections.
func TestCallsOfOpenGFW(t *testing.T) {
	p := newPath(t)
	track(t, p.ns, false)
	nf := p.open(nfqueue.Config{MaxPacketLen: 0xffff, MaxQueueLen: 128, Copymode: nfqueue.NfQnlCopyPacket, Flags: nfqueue.NfQaCfgFlagConntrack})
	for _, err := range []error{
		nf.Con.SetOption(netlink.NoENOBUFS, true), nf.Con.SetReadBuffer(4 << 20), nf.Con.SetWriteBuffer(4 << 20),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	type packet struct {
		id, stream uint32
		data       []byte
		mark       []byte
	}
	workers := make([]chan packet, 2)
	var all sync.WaitGroup
	for i := range workers {
		workers[i] = make(chan packet, 64)
		all.Go(func() {
			for x := range workers[i] {
				var err error
				switch string(x.data[28:]) {
				case "drop":
					err = nf.SetVerdict(x.id, nfqueue.NfDrop)
				case "modify":
					altered := slices.Clone(x.data)
					copy(altered[28:], "MODIFY")
					binary.BigEndian.PutUint16(altered[26:], 0) // without a checksum, as UDP may be
					err = nf.SetVerdictModPacket(x.id, nfqueue.NfAccept, altered)
				case "both":
					altered := slices.Clone(x.data)
					copy(altered[28:], "BOTH")
					binary.BigEndian.PutUint16(altered[26:], 0)
					err = nf.SetVerdictModPacketWithConnMark(x.id, nfqueue.NfAccept, 1002, altered)
				case "marked":
					if !slices.Equal(x.mark, []byte{0, 0, 1002 >> 8, 1002 & 0xff}) {
						t.Errorf("the mark of the connection is % x", x.mark)
					}
					err = nf.SetVerdictWithConnMark(x.id, nfqueue.NfAccept, 1001)
				default:
					err = nf.SetVerdict(x.id, nfqueue.NfAccept)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	var streams []uint32
	registerOrSkip(t, nf, func(a nfqueue.Attribute) int {
		if a.PacketID == nil || a.Payload == nil || len(*a.Payload) < 20 || a.Ct == nil || a.CtInfo == nil {
			t.Errorf("a packet without what every packet has: %+v", a)
			return 0
		}
		x := packet{*a.PacketID, binary.BigEndian.Uint32(ctAttribute(t, a, ctaID)), *a.Payload, ctAttribute(t, a, ctaMark)}
		streams = append(streams, x.stream)
		workers[x.stream%2] <- x
		return 0
	})
	for _, text := range []string{"one", "drop", "modify", "both", "marked", "last"} {
		p.send(text)
		switch text {
		case "modify", "both":
			p.arrives(strings.ToUpper(text))
		case "drop":
		default:
			p.arrives(text)
		}
	}
	if err := nf.Close(); err != nil {
		t.Error(err)
	}
	for _, w := range workers {
		close(w)
	}
	all.Wait()
	if len(streams) != 6 || len(slices.Compact(streams)) != 1 {
		t.Errorf("connections %x of six packets of one", streams)
	}
}

// As kube-network-policies: headers only, a label for what was accepted.
func TestCallsOfKubeNetworkPolicies(t *testing.T) {
	p := newPath(t)
	track(t, p.ns, true)
	nf := p.open(nfqueue.Config{
		Flags:        nfqueue.NfQaCfgFlagGSO + nfqueue.NfQaCfgFlagFailOpen + nfqueue.NfQaCfgFlagConntrack,
		MaxPacketLen: 128, MaxQueueLen: 1024, Copymode: nfqueue.NfQnlCopyPacket, WriteTimeout: 100 * time.Millisecond,
	})
	label := make([]byte, 16)
	label[12] = 0x10
	labels := make(chan []byte, 2)
	registerOrSkip(t, nf, func(a nfqueue.Attribute) int {
		labels <- ctAttribute(t, a, ctaLabels)
		options := []nfqueue.VerdictOption{nfqueue.WithLabel(label), nfqueue.WithMark(7)}
		if err := nf.SetVerdictWithOption(*a.PacketID, nfqueue.NfAccept, options...); err != nil {
			t.Error(err)
		}
		return 0
	})
	for i := range 2 {
		p.send(strings.Repeat("long", 100))
		p.arrives(strings.Repeat("long", 100))
		if got := <-labels; i == 1 && !slices.Equal(got, label) {
			t.Errorf("labels % x", got)
		}
	}
}

// Where connections have no labels a verdict with one takes effect, and its mark too: the
// kernel alone would lose both.
func TestLabelsThatAreNone(t *testing.T) {
	p := newPath(t)
	track(t, p.ns, false)
	log := &record{}
	nf := p.open(nfqueue.Config{Flags: nfqueue.NfQaCfgFlagConntrack, Logger: log})
	marks := make(chan []byte, 2)
	registerOrSkip(t, nf, func(a nfqueue.Attribute) int {
		marks <- ctAttribute(t, a, ctaMark)
		if err := nf.SetVerdictWithOption(*a.PacketID, nfqueue.NfAccept, nfqueue.WithConnMark(9), nfqueue.WithLabel(slices.Repeat([]byte{1}, 16))); err != nil {
			t.Error(err)
		}
		return 0
	})
	for i := range 2 {
		p.send("text")
		p.arrives("text")
		if got := <-marks; i == 1 && !slices.Equal(got, []byte{0, 0, 0, 9}) {
			t.Errorf("mark % x", got)
		}
	}
	if n := log.told(&log.errors); n != 2 {
		t.Errorf("the Logger was told of %d labels that cannot be set", n)
	}
}

// As sing-tun: an accepted packet runs through the chain again, with a mark that its rules
// know, so that later rules see it.
func TestCallsOfSingTun(t *testing.T) {
	p := newPath(t, netlab.Rule{Hook: netlab.Output, Match: netlab.Match{NotMark: 0x2023}})
	nf := p.open(nfqueue.Config{
		Flags: nfqueue.NfQaCfgFlagFailOpen | nfqueue.NfQaCfgFlagGSO, AfFamily: unix.AF_UNSPEC,
		MaxPacketLen: 512, MaxQueueLen: 4096, Copymode: nfqueue.NfQnlCopyPacket,
	})
	if err := nf.SetOption(netlink.NoENOBUFS, true); err != nil {
		t.Fatal(err)
	}
	seen := make(chan uint32, 10)
	register(t, nf, func(a nfqueue.Attribute) int {
		seen <- *a.PacketID
		switch text(a) {
		case "repeat":
			nf.SetVerdictWithOption(*a.PacketID, nfqueue.NfRepeat, nfqueue.WithMark(0x2023))
		case "drop":
			nf.SetVerdict(*a.PacketID, nfqueue.NfDrop)
		default:
			nf.SetVerdictWithMark(*a.PacketID, nfqueue.NfAccept, 0x2024)
		}
		return 0
	})
	for _, text := range []string{"repeat", "drop", "accept"} {
		p.send(text)
		if text != "drop" {
			p.arrives(text)
		}
		<-seen
	}
	if n := len(seen); n != 0 {
		t.Errorf("%d packets were queued again", n)
	}
}

// As b4: several queues at once, each with its own socket; flags that are given up where the
// kernel does not have them; accepted and dropped, by the hook itself.
func TestCallsOfB4(t *testing.T) {
	p := newPath(t)
	var nf *nfqueue.Nfqueue
	hook := func(a nfqueue.Attribute) int {
		if a.Mark != nil || a.InDev != nil || a.OutDev == nil {
			t.Errorf("%+v", a)
		}
		verdict := nfqueue.NfAccept
		if text(a) == "drop" {
			verdict = nfqueue.NfDrop
		}
		if err := nf.SetVerdict(*a.PacketID, verdict); err != nil {
			t.Error(err)
		}
		return 0
	}
	for _, flags := range []uint32{nfqueue.NfQaCfgFlagFailOpen | nfqueue.NfQaCfgFlagGSO, 0} {
		nf = p.open(nfqueue.Config{MaxPacketLen: 0xffff, MaxQueueLen: 4096, Copymode: nfqueue.NfQnlCopyPacket, Flags: flags})
		if err := nf.Con.SetReadBuffer(16 << 20); err != nil {
			t.Logf("read buffer: %v", err) // an ordinary user is refused nothing, but may get less
		}
		register(t, nf, hook)
		for i := range 20 {
			p.send("drop")
			p.send(fmt.Sprint(i))
			p.arrives(fmt.Sprint(i))
		}
		if err := nf.Close(); err != nil {
			t.Error(err)
		}
	}
}

// As egress-eddie: options that only other parts of netlink know, conntrack, drop by default.
func TestCallsOfEgressEddie(t *testing.T) {
	p := newPath(t)
	track(t, p.ns, false)
	nf := p.open(nfqueue.Config{Flags: nfqueue.NfQaCfgFlagConntrack, MaxPacketLen: 0xffff, MaxQueueLen: 0xff, Copymode: nfqueue.NfQnlCopyPacket})
	for _, o := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.GetStrictCheck} {
		if err := nf.Con.SetOption(o, true); err != nil {
			t.Fatal(err)
		}
	}
	states := make(chan uint32, 2)
	registerOrSkip(t, nf, func(a nfqueue.Attribute) int {
		states <- *a.CtInfo
		nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
		return 0
	})
	const established, isNew = 0, 2 // enum ip_conntrack_info
	p.send("one")
	p.arrives("one")
	if _, err := p.to.WriteTo([]byte("answer"), p.from.LocalAddr().(*net.UDPAddr)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.from.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	p.send("two")
	p.arrives("two")
	if a, b := <-states, <-states; a != isNew || b != established {
		t.Errorf("states %d and %d", a, b)
	}
}

// A batch verdict decides what was queued before, too.
func TestBatchVerdict(t *testing.T) {
	p := newPath(t)
	nf := p.open(nfqueue.Config{})
	const packets = 10
	ids := make(chan uint32, packets)
	register(t, nf, func(a nfqueue.Attribute) int {
		ids <- *a.PacketID
		return 0
	})
	var last uint32
	var texts []string
	for i := range packets {
		texts = append(texts, fmt.Sprint(i))
		p.send(texts[i])
		last = <-ids
	}
	if err := nf.SetVerdictBatch(last, nfqueue.NfAccept); err != nil {
		t.Fatal(err)
	}
	p.arrives(texts...)
}
