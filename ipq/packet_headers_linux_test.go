package ipq

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/oddip"
	"github.com/goipq/goipq/internal/soak"
)

// An oracle has the kernel's own matches write into a packet's mark what they
// see in it, and compares.
type oracle struct {
	name    string
	program string // that it needs
	install func(t *testing.T, ns *netlab.NS)
	// judge compares a packet that came to the queue. torn says that the
	// kernel knew what goipq did not, by a header longer than the packet.
	judge func(mark [4]byte, ip []byte, f Flow, r oddip.Reading) (torn bool, err error)
	// dropped, if not nil, compares one that the kernel's match dropped.
	dropped func(f Flow) error
}

// What goipq says of a packet's headers is what the kernel's matches see, or that
// it does not know: and that only where the kernel does not know, either, or goes
// by a header that is longer than the packet.
func TestKernelReadsHeadersAlike(t *testing.T) {
	for _, o := range []oracle{
		{"nft meta l4proto", "", nftProtocol, judgeProtocol(true), nil},
		{"nft th", "", nftPorts, judgeNFTPorts, nil},
		{"ip6tables -p", "xtables-legacy-multi", ip6tablesProtocol, judgeProtocol(false), func(f Flow) error {
			if !f.Unknown {
				return errors.New("ip6tables finds no protocol")
			}
			return nil
		}},
		{"ip6tables --dport", "xtables-legacy-multi", ip6tablesPorts, judgeIP6TablesPorts, func(Flow) error { return nil }},
	} {
		t.Run(strings.ReplaceAll(o.name, " ", "-"), func(t *testing.T) { compareWithKernel(t, o) })
	}
}

func compareWithKernel(t *testing.T, o oracle) {
	ns := labtest.New(t)
	if o.program != "" {
		labtest.Program(t, o.program)
	}
	o.install(t, ns)
	if _, err := ns.InstallQueue(
		netlab.Rule{Hook: netlab.Output, Queue: fakeNumber},
		netlab.Rule{Hook: netlab.Prerouting, Queue: fakeNumber},
	); err != nil {
		t.Fatal(err)
	}
	sender := newRawSender(t, ns)

	const window = 128
	var mu sync.Mutex
	sent := map[uint16][]byte{}
	flows := map[uint16]Flow{} // as seen when they left
	var left, arrived, torn, unknown, trailers int
	marker := make(chan struct{}, 2)
	_, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline}, HandlerFunc(func(p *Packet) Verdict {
		ip, f := p.IP(), p.Flow()
		serial := oddip.Serial(ip)
		if serial == 0 {
			marker <- struct{}{}
			if p.Hook() == Output {
				return Accept
			}
			return Drop
		}
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(sent[serial][:len(ip)], ip) {
			t.Errorf("%x was sent, %x is queued", sent[serial], ip)
		}
		if p.Hook() == Output {
			left++
			flows[serial] = f
			if f.Unknown {
				unknown++
			}
			if len(p.Trailer()) > 0 {
				// Only a receiver cuts off what is behind the datagram.
				trailers++
				return Accept
			}
		} else {
			arrived++
			if f != flows[serial] {
				t.Errorf("%x: %v when it left, now %v", ip, flows[serial], f)
			}
		}
		r, _ := oddip.Read(ip)
		var mark [4]byte
		binary.NativeEndian.PutUint32(mark[:], p.Mark())
		isTorn, err := o.judge(mark, ip, f, r)
		if err != nil {
			t.Errorf("%v: %x\ngoipq: %v; %+v; kernel: %x: %v", p.Hook(), ip, f, r, mark, err)
		}
		if isTorn {
			torn++
		}
		if p.Hook() == Output {
			return Accept
		}
		return Drop
	}))

	rng := rand.New(rand.NewPCG(15, 16))
	packets := 0
	for end := time.Now().Add(soak.Duration(t, 0)); packets < 4096 || time.Now().Before(end); packets += window {
		var refused []uint16
		mu.Lock()
		clear(sent)
		clear(flows)
		mu.Unlock()
		for i := range uint16(window) {
			serial := i + 1
			ip := oddip.New(rng, serial)
			mu.Lock()
			sent[serial] = ip
			mu.Unlock()
			switch err := sender.send(ip); {
			case errors.Is(err, unix.EPERM): // a rule dropped it
				refused = append(refused, serial)
			case err != nil:
				t.Fatalf("%x: %v", ip, err)
			}
		}
		// What comes behind the packets and ends the window, at both hooks.
		if err := sender.send(markerPacket()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			select {
			case <-marker:
			case <-time.After(time.Minute):
				t.Fatal("the packet that ends the window did not come")
			}
		}
		for _, serial := range refused {
			f := flowOf(sent[serial])
			if o.dropped == nil {
				t.Errorf("%x: dropped", sent[serial])
			} else if err := o.dropped(f); err != nil {
				t.Errorf("%x: %v, %v", sent[serial], f, err)
			}
		}
		if t.Failed() {
			break
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	t.Logf("%d packets: %d left, %d of them unknown, %d with a trailer; %d arrived; of %d the kernel took a torn header",
		packets, left, unknown, trailers, arrived, torn)
	if left < packets/2 || arrived < packets/4 || trailers < packets/20 || torn > packets/8 {
		t.Error("the test tests little, or too much is unknown")
	}
}

// judgeProtocol compares the protocol, which the kernel wrote with a bit that
// says that it knows one. nft stops at an authentication header of IPv6, and
// names that; ip6tables goes on, as the receiver does.
func judgeProtocol(nft bool) func([4]byte, []byte, Flow, oddip.Reading) (bool, error) {
	return func(mark [4]byte, ip []byte, f Flow, r oddip.Reading) (bool, error) {
		known, proto := mark[1] == 1, mark[0]
		v6 := ip[0]>>4 == 6
		switch {
		case v6 && nft && known && proto == 51, !v6 && !nft: // nothing to compare with
			return false, nil
		case !known && !f.Unknown:
			return false, errors.New("the kernel knows no protocol")
		case !known:
			return false, nil
		case f.Unknown && r.Torn:
			return true, nil
		case f.Protocol != proto:
			return false, fmt.Errorf("protocol %d", proto)
		case f.Unknown && (f.Fragment || len(r.Rest) >= 6):
			return false, fmt.Errorf("nothing is unknown of protocol %d", proto)
		}
		return false, nil
	}
}

// judgeNFTPorts compares the first bytes of the transport header, or what is
// behind the checksum of an ICMP message.
func judgeNFTPorts(mark [4]byte, ip []byte, f Flow, r oddip.Reading) (bool, error) {
	v6 := ip[0]>>4 == 6
	switch {
	// Of a later fragment Linux 6.18 takes data for ports.
	case f.Fragment, v6 && (r.AH || r.Protocol == 51):
		return false, nil
	case isEcho(f, v6) && mark != [4]byte(append(binary.BigEndian.AppendUint16(nil, f.SrcPort), 0, 0)):
		return false, errors.New("another identifier")
	case !hasPorts(f.Protocol):
		return false, nil
	case f.Unknown && mark != [4]byte{}:
		return false, errors.New("the kernel sees ports")
	case !f.Unknown && mark != [4]byte(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, f.SrcPort), f.DstPort)):
		return false, errors.New("other ports")
	}
	return false, nil
}

// isEcho reports whether the flow is of echo messages, with an identifier.
func isEcho(f Flow, v6 bool) bool {
	return f.SrcPort != 0 && (v6 && f.Protocol == protoICMPv6 || !v6 && f.Protocol == protoICMP)
}

func hasPorts(proto uint8) bool { return slices.Contains([]uint8{6, 17, 33, 132, 136}, proto) }

// judgeIP6TablesPorts compares the destination ports of TCP and UDP: the mark is
// the protocol and the place in oddip.Ports, from 1 on.
func judgeIP6TablesPorts(mark [4]byte, ip []byte, f Flow, _ oddip.Reading) (bool, error) {
	var want [4]byte
	if i := slices.Index(oddip.Ports, f.DstPort); i >= 0 && (f.Protocol == protoTCP || f.Protocol == protoUDP) {
		want[0], want[1] = f.Protocol, byte(1+i)
	}
	if ip[0]>>4 == 6 && !f.Fragment && mark != want {
		return false, errors.New("other ports")
	}
	return false, nil
}

// nftMarks installs rules that write the mark, before the queue's at both hooks.
func nftMarks(t *testing.T, ns *netlab.NS, rules ...[]expr.Any) {
	t.Helper()
	if err := ns.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		table := c.CreateTable(&nftables.Table{Name: "oracle", Family: nftables.TableFamilyINet})
		for name, hook := range map[string]*nftables.ChainHook{"out": nftables.ChainHookOutput, "in": nftables.ChainHookPrerouting} {
			chain := c.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter,
				Hooknum: hook, Priority: nftables.ChainPriorityMangle})
			none := []expr.Any{&expr.Immediate{Register: 1, Data: make([]byte, 4)}, setMark}
			for _, exprs := range append([][]expr.Any{none}, rules...) {
				c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
			}
		}
		return c.Flush()
	}); err != nil {
		t.Fatal(err)
	}
}

var (
	setMark    = &expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1}
	l4proto    = &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}
	fromHeader = func(offset, n uint32) expr.Any {
		return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: n}
	}
)

func nftProtocol(t *testing.T, ns *netlab.NS) {
	nftMarks(t, ns, []expr.Any{
		l4proto,
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: []byte{0xff, 0, 0, 0}, Xor: []byte{0, 1, 0, 0}},
		setMark,
	})
}

func nftPorts(t *testing.T, ns *netlab.NS) {
	icmp := func(family, proto byte) []expr.Any {
		return []expr.Any{
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Register: 1, Data: []byte{family}},
			l4proto, &expr.Cmp{Register: 1, Data: []byte{proto}},
			fromHeader(4, 2), setMark,
		}
	}
	nftMarks(t, ns, []expr.Any{fromHeader(0, 4), setMark}, icmp(unix.AF_INET, protoICMP), icmp(unix.AF_INET6, protoICMPv6))
}

// ip6tables adds rules to both chains of the raw table, which comes before the
// queue's. Of nft's compatible ip6tables -p is nft's own match.
func ip6tables(t *testing.T, ns *netlab.NS, rules ...string) {
	t.Helper()
	var in strings.Builder
	in.WriteString("*raw\n")
	for _, chain := range []string{"OUTPUT", "PREROUTING"} {
		fmt.Fprintf(&in, "-A %s -j MARK --set-mark 0\n", chain)
		for _, r := range rules {
			fmt.Fprintf(&in, "-A %s %s\n", chain, r)
		}
	}
	in.WriteString("COMMIT\n")
	if err := ns.Do(func() error {
		cmd := exec.Command("xtables-legacy-multi", "ip6tables-restore")
		cmd.Stdin = strings.NewReader(in.String())
		cmd.Env = append(os.Environ(), "XTABLES_LOCKFILE="+filepath.Join(t.TempDir(), "lock"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip6tables-restore: %w\n%s", err, out)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// markOf returns the mark that has these bytes in memory.
func markOf(first, second byte) uint32 {
	return binary.NativeEndian.Uint32([]byte{first, second, 0, 0})
}

func ip6tablesProtocol(t *testing.T, ns *netlab.NS) {
	var rules []string
	for proto := 1; proto < 256; proto++ { // 0 stands for any
		rules = append(rules, fmt.Sprintf("-p %d -j MARK --set-mark %d", proto, markOf(byte(proto), 1)))
	}
	ip6tables(t, ns, rules...)
}

func ip6tablesPorts(t *testing.T, ns *netlab.NS) {
	var rules []string
	for _, proto := range []byte{protoTCP, protoUDP} {
		for i, port := range oddip.Ports {
			rules = append(rules, fmt.Sprintf("-p %d --dport %d -j MARK --set-mark %d", proto, port, markOf(proto, byte(1+i))))
		}
	}
	ip6tables(t, ns, rules...)
}

// A rawSender sends IP packets as they are.
type rawSender struct{ v4, v6 int }

func newRawSender(t *testing.T, ns *netlab.NS) *rawSender {
	t.Helper()
	s := &rawSender{-1, -1}
	if err := ns.Do(func() (err error) {
		if s.v4, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
			return err
		}
		s.v6, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(s.v4)
		unix.Close(s.v6)
	})
	return s
}

func (s *rawSender) send(ip []byte) error {
	if ip[0]>>4 == 4 {
		return unix.Sendto(s.v4, ip, 0, &unix.SockaddrInet4{Addr: [4]byte(ip[16:20])})
	}
	return unix.Sendto(s.v6, ip, 0, &unix.SockaddrInet6{Addr: [16]byte(ip[24:40])})
}

// markerPacket is one with serial 0, and nothing odd.
func markerPacket() []byte {
	ip := udp6(1, nil)
	clear(ip[8:40])
	ip[23], ip[39] = 1, 1
	return ip
}
