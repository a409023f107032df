package bypass

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/goipq/goipq/internal/oddip"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
)

// run has a program look at an IP packet by BPF_PROG_TEST_RUN, which wants an
// Ethernet header in front and, as netfilter's hooks do, has a socket filter's
// offsets count from what is behind it. The EtherType is none of IP's, for which
// the kernel refuses what is cut off; the programs do not look at it.
func run(t testing.TB, p *ebpf.Program, ip []byte) bool {
	t.Helper()
	frame := slices.Concat(make([]byte, 12), []byte{0x88, 0xb5}, ip)
	ret, err := p.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		t.Fatalf("run on %x: %v", ip, err)
	}
	return ret != 0
}

// loadTable makes a table without any rules.
func loadTable(t testing.TB, size int) *Table {
	t.Helper()
	needBPF(t)
	b, err := New(Config{Backend: EBPF, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b.Table()
}

// decision says what the programs make of a packet, as a rule set does.
func (t *Table) decision(tb testing.TB, ip []byte) string {
	tb.Helper()
	switch {
	case run(tb, t.objects.accept, ip):
		return "accept"
	case run(tb, t.objects.drop, ip):
		return "drop"
	}
	return "queue"
}

// parsed returns the flow and the transport header as package ipq does.
func parsed(ip []byte) (f ipq.Flow, transport []byte) {
	var k zerocopy.FlowKey
	if !k.Parse(ip) {
		return f, nil
	}
	f = ipq.Flow{SrcPort: k.SrcPort, DstPort: k.DstPort, Protocol: k.Proto, Fragment: k.Fragment, Unknown: k.Unknown}
	if k.Version == 4 {
		f.Src, f.Dst = netip.AddrFrom4([4]byte(k.Src[:4])), netip.AddrFrom4([4]byte(k.Dst[:4]))
	} else {
		f.Src, f.Dst = netip.AddrFrom16(k.Src), netip.AddrFrom16(k.Dst)
	}
	return f, zerocopy.Transport(ip)
}

// most is how many IPv6 extension headers the programs pass.
const most = 16

// agree asserts that the programs tell the packet's flow exactly when
// recognise does, and as the same one; but for packets with more extension
// headers than they pass, which they never decide.
func agree(t testing.TB, table *Table, ip []byte) {
	t.Helper()
	f, transport := parsed(ip)
	key, err := recognise(f, transport)
	if err != nil {
		// A key that is as like the packet as can be must not match, either.
		key = kernelFlowKey{Ports: uint32(swap16(f.SrcPort)) | uint32(swap16(f.DstPort))<<16}
		if f.IsValid() {
			bare, err := keyOf(ipq.Flow{Src: f.Src, Dst: f.Dst, Protocol: 47})
			if err != nil {
				t.Fatal(err)
			}
			key.Kind, key.Lo, key.Hi = bare.Kind&^0xff|uint32(f.Protocol), bare.Lo, bare.Hi
			key.sort()
		}
	}
	opens := err == nil && f.Protocol == protoTCP && transport[tcpFlags]&0x12 == 0x02
	for _, action := range []uint64{actionDrop, actionAccept} {
		if err := table.put(&key, action, &Limits{}); err != nil {
			t.Fatal(err)
		}
		want := "queue"
		if r, _ := oddip.Read(ip); err == nil && r.Passed <= most && !(opens && action == actionAccept) {
			want = []string{"drop", "accept"}[action]
		}
		if got := table.decision(t, ip); got != want {
			t.Errorf("%x\nflow %v, %v, opens %v: %s, want %s", ip, f, err, opens, got, want)
		}
	}
	if err := table.delete(&key); err != nil {
		t.Fatal(err)
	}
	if got := table.decision(t, ip); got != "queue" {
		t.Errorf("%x: %s without an entry", ip, got)
	}
}

func ip4(proto byte, fragment uint16, options int, rest []byte) []byte {
	n := 20 + 4*options + len(rest)
	b := []byte{0x45 + byte(options), 0, byte(n >> 8), byte(n), 0, 0, byte(fragment >> 8), byte(fragment), 64, proto, 0, 0, 192, 0, 2, 9, 192, 0, 2, 1}
	return slices.Concat(b, make([]byte, 4*options), rest)
}

func ip6(next byte, rest ...[]byte) []byte {
	b := make([]byte, 40)
	b[0], b[6] = 0x60, next
	copy(b[8:], []byte{0xfd, 0, 1})
	copy(b[24:], []byte{0xfd, 0, 0})
	b[23], b[39] = 2, 1
	b = slices.Concat(append([][]byte{b}, rest...)...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

func tcp(flags byte) []byte {
	return slices.Concat([]byte{0x30, 0x39, 0, 80}, make([]byte, 8), []byte{0x50, flags}, make([]byte, 6))
}

func ports(src, dst uint16) []byte {
	return slices.Concat(binary.BigEndian.AppendUint16(nil, src), binary.BigEndian.AppendUint16(nil, dst), make([]byte, 4))
}

func echo(typ byte, id uint16) []byte {
	return slices.Concat([]byte{typ, 0, 0, 0}, binary.BigEndian.AppendUint16(nil, id), []byte{0, 1})
}

func extension(next, length byte) []byte {
	b := make([]byte, 8+8*int(length))
	b[0], b[1] = next, length
	return b
}

// packets are of every kind that the parsers tell apart.
var packets = []struct {
	name   string
	ip     []byte
	unsure bool // belongs to no flow for certain
}{
	{"TCP data", ip4(6, 0x4000, 0, tcp(0x18)), false},
	{"TCP SYN", ip4(6, 0, 0, tcp(0x02)), false},
	{"TCP SYN ACK", ip4(6, 0, 0, tcp(0x12)), false},
	{"TCP cut before the flags", ip4(6, 0, 0, tcp(0x18)[:13]), true},
	{"TCP cut behind the flags", ip4(6, 0, 0, tcp(0x18)[:14]), false},
	{"UDP", ip4(17, 0, 0, ports(1, 2)), false},
	{"UDP to itself", ip4(17, 0, 0, ports(7, 7)), false},
	{"UDP from port 0", ip4(17, 0, 0, ports(0, 2)), false},
	{"UDP without ports", ip4(17, 0, 0, ports(0, 0)), true},
	{"UDP cut in the ports", ip4(17, 0, 0, ports(1, 2)[:3]), true},
	{"UDP cut behind the ports", ip4(17, 0, 0, ports(1, 2)[:4]), false},
	{"UDP-Lite", ip4(136, 0, 0, ports(1, 2)), false},
	{"SCTP", ip4(132, 0, 0, ports(1, 2)), false},
	{"DCCP", ip4(33, 0, 0, ports(1, 2)), false},
	{"GRE", ip4(47, 0, 0, ports(1, 2)), false},
	{"ESP", ip4(50, 0, 0, ports(1, 2)), false},
	{"IPv4 options", ip4(17, 0, 10, ports(1, 2)), false},
	{"IPv4 options cut", ip4(17, 0, 10, nil)[:44], true},
	{"IPv4 options cut before GRE", ip4(47, 0, 10, nil)[:44], true},
	{"first fragment", ip4(17, 0x2000, 0, ports(1, 2)), true},
	{"later fragment", ip4(17, 0x0001, 0, ports(1, 2)), true},
	{"last fragment far behind", ip4(17, 0x1f00, 0, ports(1, 2)), true},
	{"fragment of GRE", ip4(47, 0x2000, 0, ports(1, 2)), true},
	{"reserved flag", ip4(17, 0x8000, 0, ports(1, 2)), false},
	{"echo request", ip4(1, 0, 0, echo(8, 77)), false},
	{"echo reply", ip4(1, 0, 0, echo(0, 77)), false},
	{"echo with id 0", ip4(1, 0, 0, echo(8, 0)), false},
	{"echo cut", ip4(1, 0, 0, echo(8, 77)[:5]), true},
	{"unreachable", ip4(1, 0, 0, echo(3, 77)), true},
	{"unreachable with zeroes where an echo has its id", ip4(1, 0, 0, echo(3, 0)), true},
	{"ICMPv6 in IPv4", ip4(58, 0, 0, echo(128, 77)), true},
	{"IPv4 AH", ip4(51, 0, 0, extension(6, 4)), true},
	{"IPv4 hop by hop", ip4(0, 0, 0, extension(6, 0)), true},
	{"no next header in IPv4", ip4(59, 0, 0, nil), true},
	{"header too short", slices.Concat([]byte{0x44}, ip4(17, 0, 0, ports(1, 2))[1:]), true},
	{"IPv4 cut", ip4(17, 0, 0, nil)[:19], true},
	{"version 5", slices.Concat([]byte{0x55}, ip4(17, 0, 0, ports(1, 2))[1:]), true},

	{"IPv6 TCP", ip6(6, tcp(0x18)), false},
	{"IPv6 TCP SYN", ip6(6, tcp(0x02)), false},
	{"IPv6 UDP", ip6(17, ports(1, 2)), false},
	{"IPv6 echo request", ip6(58, echo(128, 77)), false},
	{"IPv6 echo reply", ip6(58, echo(129, 0)), false},
	{"neighbour solicitation", ip6(58, echo(135, 77)), true},
	{"ICMP in IPv6", ip6(1, echo(8, 77)), true},
	{"IPv6 extensions", ip6(0, extension(60, 0), extension(43, 3), extension(6, 1), tcp(0x18)), false},
	{"IPv6 extensions before SYN", ip6(0, extension(6, 1), tcp(0x02)), false},
	{"IPv6 AH", ip6(51, extension(17, 4)[:24], ports(1, 2)), false},
	{"IPv6 mobility", ip6(135, extension(17, 0), ports(53, 9000)), false},
	{"IPv6 HIP", ip6(139, extension(17, 0), ports(53, 9000)), false},
	{"IPv6 shim6 behind options", ip6(60, extension(140, 0), extension(17, 0), ports(53, 9000)), false},
	{"IPv6 first fragment", ip6(44, []byte{17, 0, 0, 1, 0, 0, 0, 1}, ports(1, 2)), true},
	{"IPv6 later fragment", ip6(44, []byte{17, 0, 0, 8, 0, 0, 0, 1}, ports(1, 2)), true},
	{"IPv6 fragment with a high offset", ip6(44, []byte{17, 0, 1, 0, 0, 0, 0, 1}, ports(1, 2)), true},
	{"IPv6 atomic fragment", ip6(44, []byte{17, 0, 0, 6, 0, 0, 0, 1}, ports(1, 2)), false},
	{"IPv6 fragment behind extensions", ip6(0, extension(44, 0), []byte{17, 0, 0, 1, 0, 0, 0, 1}, ports(1, 2)), true},
	{"IPv6 ESP", ip6(50, ports(1, 2)), false},
	{"IPv6 no next header", ip6(59, ports(1, 2)), true},
	{"IPv6 extension cut", ip6(60, extension(17, 0)[:7]), true},
	{"IPv6 extension longer than the packet", ip6(60, extension(17, 9)[:72]), true},
	{"16 IPv6 extensions", ip6(60, chain(15, 17), ports(1, 2)), false},
	{"17 IPv6 extensions", ip6(60, chain(16, 17), ports(1, 2)), false},
	{"17 IPv6 extensions to the end", ip6(60, chain(16, 60)), true},
	{"IPv6 first fragment of options", ip6(44, []byte{60, 0, 0, 1, 0, 0, 0, 1}, extension(17, 0), ports(1, 2)), true},
	{"IPv6 later fragment of options", ip6(44, []byte{60, 0, 0, 9, 0, 0, 0, 1}, extension(17, 0), ports(1, 2)), true},
	{"IPv6 without its payload's length", sized(0, ip6(17, ports(1, 2))), true},
	{"IPv6, ports behind the datagram", sized(3, ip6(17, ports(1, 2))), true},
	{"IPv6, an extension beyond the datagram", sized(15, ip6(60, extension(17, 1), ports(1, 2))), true},
	{"IPv6, its end behind the ports", sized(4, ip6(17, ports(1, 2))), false},
	{"IPv6 jumbogram", sized(0, ip6(0, extension(17, 0), ports(1, 2))), false},
	{"IPv4, ports behind the datagram", sized(23, ip4(17, 0, 0, append(ports(1, 2), tcp(0)...))), true},
	{"IPv4, flags behind the datagram", sized(33, ip4(6, 0, 0, tcp(0x18))), true},
	{"IPv4, header longer than the datagram", sized(20, ip4(47, 0, 1, append(ports(1, 2), tcp(0)...))), true},
	{"IPv4, its end behind the ports", sized(24, ip4(17, 0, 0, append(ports(1, 2), tcp(0)...))), false},
	{"IPv4 super-packet", sized(0, ip4(6, 0, 0, tcp(0x18))), false},
	{"IPv4 mobility", ip4(135, 0, 0, extension(17, 0)), false},
	{"IPv6 cut", ip6(17)[:39], true},
}

// sized gives the packet another length in its header: IPv4's total length, or
// IPv6's of the payload.
func sized(n uint16, ip []byte) []byte {
	at := 2
	if ip[0]>>4 == 6 {
		at = 4
	}
	binary.BigEndian.PutUint16(ip[at:], n)
	return ip
}

// chain is n destination options, and one more before the protocol.
func chain(n int, proto byte) []byte {
	var b []byte
	for range n {
		b = append(b, extension(60, 0)...)
	}
	return append(b, extension(proto, 0)...)
}

// The programs find a flow in a packet exactly when the library does, and the
// same one. What cannot be told for certain is never decided.
func TestProgramsAgreeWithTheLibrary(t *testing.T) {
	table := loadTable(t, 64)
	for _, tt := range packets {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := recognise(parsed(tt.ip)); (err != nil) != tt.unsure {
				t.Errorf("recognise: %v, want unsure %v", err, tt.unsure)
			}
			agree(t, table, tt.ip)
		})
	}
}

// They agree on what is made of these by chance, too.
func TestProgramsAgreeOnRandomPackets(t *testing.T) {
	table := loadTable(t, 64)
	rng := rand.New(rand.NewPCG(5, 6))
	sure := 0
	const rounds = 20_000
	for range rounds {
		ip := slices.Clone(packets[rng.IntN(len(packets))].ip)
		for range rng.IntN(3) {
			ip[rng.IntN(len(ip))] = byte(rng.Uint32() >> rng.IntN(8))
		}
		if rng.IntN(4) == 0 {
			ip = ip[:1+rng.IntN(len(ip))]
		}
		if _, err := recognise(parsed(ip)); err == nil {
			sure++
		}
		if agree(t, table, ip); t.Failed() {
			return
		}
	}
	if sure < rounds/10 || sure > rounds*9/10 {
		t.Errorf("%d of %d packets had a flow: the test tests little", sure, rounds)
	}
}

// They agree on headers of every odd kind.
func TestProgramsAgreeOnOddPackets(t *testing.T) {
	table := loadTable(t, 64)
	rng := rand.New(rand.NewPCG(7, 8))
	sure, many := 0, 0
	const rounds = 20_000
	for i := range rounds {
		ip := oddip.New(rng, uint16(i))
		if _, err := recognise(parsed(ip)); err == nil {
			sure++
			if r, _ := oddip.Read(ip); r.Passed > most {
				many++
			}
		}
		if agree(t, table, ip); t.Failed() {
			return
		}
	}
	if sure < rounds/10 || sure > rounds*9/10 || many < rounds/500 {
		t.Errorf("%d of %d packets had a flow, %d behind many headers: the test tests little", sure, rounds, many)
	}
}

// A settled flow decides no packet but its own: whatever stands in a packet that
// could pass for ports, and whatever protocol they would be of.
func TestSettledFlowDecidesNothingElse(t *testing.T) {
	table := loadTable(t, 4096)
	rng := rand.New(rand.NewPCG(13, 14))
	forged := ip6(139, []byte{17, 0, 1, 1, 0, 0, 0, 0}, []byte{0, 0x35, 0x23, 0x28, 0, 8, 0, 0}, []byte("EVIL"))
	settled := 0
	for i := range 300 {
		ip := forged
		if i > 0 {
			ip = oddip.New(rng, uint16(i))
		}
		f, transport := parsed(ip)
		own, err := recognise(f, transport)
		var keys []kernelFlowKey
		for at := 20; at+4 <= len(ip) && at < 200; at += 4 {
			for _, proto := range []uint8{protoTCP, protoUDP} {
				other := ipq.Flow{Src: f.Src, Dst: f.Dst, Protocol: proto,
					SrcPort: binary.BigEndian.Uint16(ip[at:]), DstPort: binary.BigEndian.Uint16(ip[at+2:])}
				key, keyErr := keyOf(other)
				if keyErr != nil || err == nil && key == own {
					continue
				}
				if err := table.put(&key, actionAccept, &Limits{}); err != nil {
					t.Fatal(err)
				}
				keys = append(keys, key)
			}
		}
		settled += len(keys)
		if got := table.decision(t, ip); got != "queue" {
			t.Errorf("%x\nflow %v, %v: %s by another's entry", ip, f, err, got)
		}
		for _, key := range keys {
			if err := table.delete(&key); err != nil && err != ErrNotFound { // twice the same ports
				t.Fatal(err)
			}
		}
	}
	if settled < 3000 {
		t.Errorf("%d flows: the test tests little", settled)
	}
}

func FuzzProgramsAgree(f *testing.F) {
	var table *Table
	for _, tt := range packets {
		f.Add(tt.ip)
	}
	f.Fuzz(func(t *testing.T, ip []byte) {
		if table == nil {
			needBPF(t)
			b, err := New(Config{Backend: EBPF, Size: 64})
			if err != nil {
				t.Fatal(err)
			}
			table = b.Table() // for the life of the process
		}
		// A test run takes a page, less the room that drivers want.
		if len(ip) == 0 || len(ip) > 2048 {
			return
		}
		agree(t, table, ip)
	})
}

// One entry stands for both directions, whichever of them settled it; a flow
// that differs in anything has none.
func TestKeysAreExact(t *testing.T) {
	table := loadTable(t, 64)
	for _, s := range []string{"192.0.2.1", "fd00::2:1", "::ffff:192.0.2.1"} {
		src := netip.MustParseAddr(s)
		f := ipq.Flow{Src: src, Dst: src.Next(), SrcPort: 1000, DstPort: 999, Protocol: 17}
		other := src.Next().Next()
		for _, settled := range []ipq.Flow{f, f.Reverse()} {
			if err := table.Insert(settled, ipq.Drop, Limits{}); err != nil {
				t.Fatal(err)
			}
			for _, same := range []ipq.Flow{f, f.Reverse()} {
				if e, err := table.Lookup(same); err != nil || e.Verdict != ipq.Drop || !e.Live {
					t.Errorf("%v by %v: %+v, %v", settled, same, e, err)
				}
			}
			for name, change := range map[string]func(*ipq.Flow){
				"source":         func(f *ipq.Flow) { f.Src = other },
				"destination":    func(f *ipq.Flow) { f.Dst = other },
				"source port":    func(f *ipq.Flow) { f.SrcPort++ },
				"protocol":       func(f *ipq.Flow) { f.Protocol = 136 },
				"swapped ports":  func(f *ipq.Flow) { f.SrcPort, f.DstPort = f.DstPort, f.SrcPort },
				"byte order":     func(f *ipq.Flow) { f.SrcPort, f.DstPort = f.SrcPort<<8|f.SrcPort>>8, f.DstPort<<8|f.DstPort>>8 },
				"version of IP":  func(f *ipq.Flow) { f.Src, f.Dst = otherVersion(f.Src), otherVersion(f.Dst) },
				"swapped halves": func(f *ipq.Flow) { f.Src, f.Dst = f.Dst, f.Src },
			} {
				g := settled
				if change(&g); !g.Src.IsValid() {
					continue
				}
				if e, err := table.Lookup(g); err != ErrNotFound {
					t.Errorf("%v by %v, with another %s: %+v, %v", settled, g, name, e, err)
				}
			}
			if err := table.Delete(settled.Reverse()); err != nil {
				t.Error(err)
			}
		}
	}
}

// otherVersion turns an IPv4 address into its IPv4-mapped IPv6 one, and back.
func otherVersion(a netip.Addr) netip.Addr {
	switch {
	case a.Is4():
		return netip.AddrFrom16(a.As16())
	case a.Is4In6():
		return a.Unmap()
	}
	return netip.Addr{}
}
