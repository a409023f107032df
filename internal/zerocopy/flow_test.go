package zerocopy

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/goipq/goipq/internal/oddip"
)

// l4 is an upper-layer packet that begins with two ports.
func l4(src, dst uint16) []byte { return slices.Concat(be16(src), be16(dst), make([]byte, 16)) }

// icmpEcho is an ICMP message with an identifier.
func icmpEcho(typ uint8, id uint16) []byte {
	return slices.Concat([]byte{typ, 0, 0, 0}, be16(id), be16(1))
}

// sized writes the length of the packet into its IP header.
func sized(ip []byte) []byte {
	if ip[0]>>4 == 4 {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-ipv6HeaderLen))
	}
	return ip
}

// options is n headers of destination options, the last before next.
func options(n int, next uint8) []byte {
	b := slices.Repeat(ext(protoDestOpts, 0), n)
	b[8*(n-1)] = next
	return b
}

func TestFlowKeyParse(t *testing.T) {
	const fragment, unknown = 1, 2
	for _, tt := range []struct {
		name     string
		ip       []byte
		proto    uint8
		src, dst uint16
		flags    int
	}{
		{"TCP", ipv4(protoTCP, 0x4000, nil, l4(1000, 2000)), 6, 1000, 2000, 0},
		{"UDP", ipv4(protoUDP, 0, nil, l4(1000, 2000)), 17, 1000, 2000, 0},
		{"UDP-Lite", ipv4(protoUDPLite, 0, nil, l4(1, 2)), 136, 1, 2, 0},
		{"SCTP", ipv4(protoSCTP, 0, nil, l4(1, 2)), 132, 1, 2, 0},
		{"DCCP", ipv4(protoDCCP, 0, nil, l4(1, 2)), 33, 1, 2, 0},
		{"GRE", ipv4(47, 0, nil, l4(1, 2)), 47, 0, 0, 0},
		{"GRE, nothing behind", ipv4(47, 0, nil, nil), 47, 0, 0, 0},
		{"options", ipv4(protoTCP, 0, make([]byte, 40), l4(1, 2)), 6, 1, 2, 0},
		{"options cut", ipv4(protoTCP, 0, make([]byte, 40), nil)[:44], 6, 0, 0, unknown},
		{"options cut before GRE", ipv4(47, 0, make([]byte, 40), nil)[:44], 47, 0, 0, unknown},
		{"options cut of a fragment", ipv4(protoTCP, 1, make([]byte, 40), nil)[:44], 6, 0, 0, fragment | unknown},
		{"ports cut", ipv4(protoTCP, 0, nil, l4(1, 2)[:3]), 6, 0, 0, unknown},
		{"only ports", ipv4(protoTCP, 0, nil, l4(1, 2)[:4]), 6, 1, 2, 0},
		{"port 0", ipv4(protoTCP, 0, nil, l4(0, 0)), 6, 0, 0, 0},
		{"first fragment", ipv4(protoUDP, 0x2000, nil, l4(1, 2)), 17, 0, 0, fragment},
		{"last fragment", ipv4(protoUDP, 0x0001, nil, l4(1, 2)), 17, 0, 0, fragment},
		{"echo fragment", ipv4(protoICMP, 0x2000, nil, icmpEcho(8, 77)), 1, 0, 0, fragment},
		{"echo request", ipv4(protoICMP, 0, nil, icmpEcho(8, 77)), 1, 77, 77, 0},
		{"echo reply", ipv4(protoICMP, 0, nil, icmpEcho(0, 77)), 1, 77, 77, 0},
		{"echo cut", ipv4(protoICMP, 0, nil, icmpEcho(0, 77)[:5]), 1, 0, 0, unknown},
		{"ICMP cut", ipv4(protoICMP, 0, nil, nil), 1, 0, 0, unknown},
		{"unreachable", ipv4(protoICMP, 0, nil, icmpEcho(3, 77)), 1, 0, 0, 0},
		{"unreachable, cut", ipv4(protoICMP, 0, nil, icmpEcho(3, 77)[:1]), 1, 0, 0, 0},
		{"ICMPv6 in IPv4", ipv4(protoICMPv6, 0, nil, icmpEcho(128, 77)), 58, 0, 0, 0},
		{"an extension header in IPv4", ipv4(60, 0, nil, ext(protoUDP, 0)), 60, 0, 0, 0},
		{"AH in IPv4", ipv4(51, 0, nil, authHdr(protoUDP)), 51, 0, 0, 0},

		{"v6 TCP", ipv6(protoTCP, l4(1000, 2000)), 6, 1000, 2000, 0},
		{"v6 echo request", ipv6(protoICMPv6, icmpEcho(128, 77)), 58, 77, 77, 0},
		{"v6 echo reply", ipv6(protoICMPv6, icmpEcho(129, 77)), 58, 77, 77, 0},
		{"v6 neighbour", ipv6(protoICMPv6, icmpEcho(135, 77)), 58, 0, 0, 0},
		{"ICMP in IPv6", ipv6(protoICMP, icmpEcho(8, 77)), 1, 0, 0, 0},
		{"v6 extensions", ipv6(0, ext(60, 0), ext(43, 1), ext(protoUDP, 3), l4(1, 2)), 17, 1, 2, 0},
		{"v6 AH", ipv6(51, authHdr(protoTCP), l4(1, 2)), 6, 1, 2, 0},
		{"v6 mobility", ipv6(135, ext(protoUDP, 0), l4(53, 9000)), 135, 0, 0, 0},
		{"v6 HIP", ipv6(139, ext(protoUDP, 0), l4(53, 9000)), 139, 0, 0, 0},
		{"v6 shim6", ipv6(140, ext(protoUDP, 0), l4(53, 9000)), 140, 0, 0, 0},
		{"v6 mobility behind options", ipv6(60, ext(135, 0), ext(59, 0)), 135, 0, 0, 0},
		{"v6 first fragment", ipv6(44, fragmentHdr(protoUDP, 1), l4(1, 2)), 17, 0, 0, fragment},
		{"v6 last fragment", ipv6(44, fragmentHdr(protoUDP, 0x10), l4(1, 2)), 17, 0, 0, fragment},
		{"v6 first fragment of options", ipv6(44, fragmentHdr(60, 1), ext(protoUDP, 0), l4(1, 2)), 17, 0, 0, fragment},
		{"v6 first fragment of options, cut", ipv6(44, fragmentHdr(60, 1), ext(protoUDP, 1)[:8]), 60, 0, 0, fragment | unknown},
		{"v6 later fragment of options", ipv6(44, fragmentHdr(60, 9), ext(protoUDP, 0), l4(1, 2)), 60, 0, 0, fragment | unknown},
		{"v6 later fragment of AH", ipv6(44, fragmentHdr(51, 8), authHdr(protoUDP)), 51, 0, 0, fragment | unknown},
		{"v6 later fragment of nothing", ipv6(44, fragmentHdr(59, 8)), 59, 0, 0, fragment},
		{"v6 later fragment of mobility", ipv6(44, fragmentHdr(135, 8), ext(59, 0)), 135, 0, 0, fragment},
		{"v6 fragment of a fragment", ipv6(44, fragmentHdr(44, 1), fragmentHdr(protoUDP, 8), l4(1, 2)), 17, 0, 0, fragment},
		{"v6 fragment header cut", ipv6(44, fragmentHdr(protoUDP, 1)[:7]), 44, 0, 0, unknown},
		{"v6 atomic fragment", ipv6(44, fragmentHdr(protoUDP, 0x0006), l4(1, 2)), 17, 1, 2, 0},
		{"v6 ESP", ipv6(50, l4(1, 2)), 50, 0, 0, 0},
		{"v6 no next header", ipv6(59, l4(1, 2)), 59, 0, 0, 0},
		{"v6 no next header behind options", ipv6(60, ext(59, 0), l4(1, 2)), 59, 0, 0, 0},
		{"v6 header only", ipv6(protoTCP), 6, 0, 0, unknown},
		{"v6 extension only", ipv6(60, ext(protoTCP, 0)), 6, 0, 0, unknown},
		{"v6 extension cut", ipv6(60, ext(protoUDP, 0)[:7]), 60, 0, 0, unknown},
		{"v6 extension too long", ipv6(60, ext(protoUDP, 9)[:72]), 60, 0, 0, unknown},
		{"v6 AH too long", ipv6(51, authHdr(protoUDP)[:20]), 51, 0, 0, unknown},
		{"v6 17 extensions", ipv6(60, options(17, protoUDP), l4(1, 2)), 17, 1, 2, 0},
		{"v6 as many extensions as fit", ipv6(60, options(8180, protoUDP), l4(1, 2)), 17, 1, 2, 0},
		{"v6 extensions to the end", ipv6(60, options(8186, 60)), 60, 0, 0, unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sized(tt.ip)
			want := FlowKey{SrcPort: tt.src, DstPort: tt.dst, Proto: tt.proto,
				Fragment: tt.flags&fragment != 0, Unknown: tt.flags&unknown != 0}
			if want.Version = tt.ip[0] >> 4; want.Version == 4 {
				copy(want.Src[:], v4Src)
				copy(want.Dst[:], v4Dst)
			} else {
				copy(want.Src[:], v6Src)
				copy(want.Dst[:], v6Dst)
			}
			// What is behind the datagram is no part of it: not of a header
			// that ends there, either.
			for _, ip := range [][]byte{tt.ip, slices.Concat(tt.ip, l4(7, 8), l4(7, 8))} {
				if tt.ip[0] == 0x4f && want.Unknown { // its length cannot be right
					ip = tt.ip
				}
				var k FlowKey
				if !k.Parse(ip) {
					t.Fatal("not parsed")
				}
				if k != want {
					t.Errorf("%d bytes behind: got  %+v\nwant %+v", len(ip)-len(tt.ip), k, want)
				}
				checkHashes(t, ip)
			}
		})
	}
}

// An IPv4 header that is longer than its datagram tells no ports, however many
// bytes there are; and of a super-packet that is too long for the field, the
// length is zero.
func TestFlowKeyOfIPv4Lengths(t *testing.T) {
	for said, want := range map[uint16]FlowKey{
		0:  {SrcPort: 1, DstPort: 2},
		1:  {Unknown: true},
		20: {Unknown: true},
		23: {Unknown: true},
		24: {Unknown: true}, // no room for the ports
		27: {Unknown: true},
		28: {SrcPort: 1, DstPort: 2},
		99: {SrcPort: 1, DstPort: 2}, // cut off behind the ports
	} {
		ip := ipv4(protoTCP, 0, make([]byte, 4), l4(1, 2))
		binary.BigEndian.PutUint16(ip[2:], said)
		want.Version, want.Proto = 4, protoTCP
		copy(want.Src[:], v4Src)
		copy(want.Dst[:], v4Dst)
		var k FlowKey
		if !k.Parse(ip) || k != want {
			t.Errorf("total length %d: got  %+v\nwant %+v", said, k, want)
		}
		if transport := Transport(ip); (transport == nil) != (said > 0 && said < 24) {
			t.Errorf("total length %d: transport header %x", said, transport)
		}
	}
}

func TestTransport(t *testing.T) {
	l4 := l4(1000, 2000)
	for _, tt := range []struct {
		name string
		ip   []byte
		want []byte
	}{
		{"v4", ipv4(protoTCP, 0x4000, nil, l4), l4},
		{"v4 options", ipv4(protoTCP, 0, make([]byte, 40), l4), l4},
		{"v4 nothing behind", ipv4(protoTCP, 0, nil, nil), []byte{}},
		{"v4 options cut", ipv4(protoTCP, 0, make([]byte, 40), nil)[:44], nil},
		{"v4 first fragment", ipv4(protoUDP, 0x2000, nil, l4), nil},
		{"v4 last fragment", ipv4(protoUDP, 0x0001, nil, l4), nil},
		{"v6", ipv6(protoTCP, l4), l4},
		{"v6 extensions", ipv6(0, ext(60, 0), ext(43, 1), ext(protoUDP, 3), l4), l4},
		{"v6 20 extensions", ipv6(60, options(20, protoUDP), l4), l4},
		{"v6 mobility", ipv6(135, ext(protoUDP, 0), l4), slices.Concat(ext(protoUDP, 0), l4)},
		{"v6 atomic fragment", ipv6(44, fragmentHdr(protoUDP, 0), l4), l4},
		{"v6 fragment", ipv6(44, fragmentHdr(protoUDP, 1), l4), nil},
		{"v6 extension cut", ipv6(60, ext(protoUDP, 0)[:7]), nil},
		{"v6 extensions to the end", ipv6(60, options(17, 60)), nil},
		{"v6 nothing behind", ipv6(60, ext(protoUDP, 0)), []byte{}},
		{"not IP", []byte("not an IP packet at all"), nil},
	} {
		if version(tt.ip) != 0 {
			sized(tt.ip)
		}
		got := Transport(tt.ip)
		if !bytes.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %x, want %x", tt.name, got, tt.want)
		}
		if tt.want == nil {
			continue
		}
		if got := Transport(append(tt.ip, 1, 2, 3)); !bytes.Equal(got, tt.want) || cap(got) != len(got) {
			t.Errorf("%s, padded: %x with a capacity of %d, want %x", tt.name, got, cap(got), tt.want)
		}
	}
}

// Fragments of one datagram share a hash, though of IPv6 each may name another
// protocol, and the first alone shows what is behind more headers.
func TestFragmentsHashAlike(t *testing.T) {
	fragments := [][]byte{
		ipv6(44, fragmentHdr(60, 1), ext(protoUDP, 0), l4(1, 2)),
		ipv6(44, fragmentHdr(60, 9), l4(3, 4)),
		ipv6(44, fragmentHdr(protoTCP, 0x10), l4(5, 6)), // a receiver goes by the first
		ipv6(0, ext(44, 0), fragmentHdr(59, 0x18), l4(5, 6)),
	}
	want := HashFlow(sized(fragments[0]), 5)
	for i, ip := range fragments {
		if got := HashFlow(sized(ip), 5); got != want {
			t.Errorf("fragment %d: %#x, the first %#x", i, got, want)
		}
		checkHashes(t, ip)
	}
	if whole := ipv6(60, ext(protoUDP, 0), l4(0, 0)); HashFlow(sized(whole), 5) == want {
		t.Error("a whole datagram hashes like a fragment")
	}
}

// checkFlow asserts that the flow of a packet is what oddip reads in it.
func checkFlow(tb testing.TB, ip []byte) {
	tb.Helper()
	var k FlowKey
	r, ok := oddip.Read(ip)
	if parsed := k.Parse(ip); parsed != ok {
		tb.Fatalf("%x: parsed %v, want %v", ip, parsed, ok)
	}
	if !ok {
		return
	}
	want := FlowKey{Src: k.Src, Dst: k.Dst, Version: ip[0] >> 4, Proto: r.Protocol, Fragment: r.Fragment, Unknown: !r.Known}
	transport := r.Rest
	if !r.Known || r.Fragment {
		transport = nil
	}
	if transport != nil {
		need, echo := 0, r.Protocol == 1 && want.Version == 4 || r.Protocol == 58 && want.Version == 6
		switch {
		case r.Protocol == 6 || r.Protocol == 17 || r.Protocol == 33 || r.Protocol == 132 || r.Protocol == 136:
			need = 4
		case echo && len(transport) == 0:
			need = 1
		case echo && bytes.IndexByte([][]byte{{8, 0}, {128, 129}}[want.Version/2-2], transport[0]) >= 0:
			need = 6
		}
		switch want.Unknown = len(transport) < need; {
		case want.Unknown:
		case need == 4:
			want.SrcPort, want.DstPort = binary.BigEndian.Uint16(transport), binary.BigEndian.Uint16(transport[2:])
		case need == 6:
			want.SrcPort = binary.BigEndian.Uint16(transport[4:])
			want.DstPort = want.SrcPort
		}
	}
	if k != want {
		tb.Errorf("%x\ngot  %+v\nwant %+v", ip, k, want)
	}
	if got := Transport(ip); !bytes.Equal(got, transport) || (got == nil) != (transport == nil) {
		tb.Errorf("%x\ntransport header %x, want %x", ip, got, transport)
	}
}

func TestFlowOfOddPackets(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	var count struct{ known, unknown, fragments, many int }
	const rounds = 100_000
	for i := range rounds {
		ip := oddip.New(rng, uint16(i))
		if checkFlow(t, ip); t.Failed() {
			return
		}
		checkHashes(t, ip)
		switch r, _ := oddip.Read(ip); {
		case r.Fragment:
			count.fragments++
		case !r.Known:
			count.unknown++
		case r.Passed > 16:
			count.many++
		default:
			count.known++
		}
	}
	if min(count.known, count.unknown, count.fragments) < rounds/20 || count.many < rounds/500 {
		t.Errorf("%+v of %d packets: the test tests little", count, rounds)
	}
}

func TestFlowKeyUnparsable(t *testing.T) {
	for _, b := range [][]byte{
		nil, {0x45}, ipv4(protoTCP, 0, nil, nil)[:19], ipv6(protoTCP)[:39],
		make([]byte, 60), append([]byte{0x44}, make([]byte, 60)...), append([]byte{0xf5}, make([]byte, 60)...),
	} {
		k := FlowKey{Proto: 6, Src: [16]byte{1}}
		if k.Parse(b) || k != (FlowKey{}) {
			t.Errorf("%x parsed as %+v", b, k)
		}
		if got, want := HashFlow(b, 9), (&FlowKey{}).Hash(9); got != want {
			t.Errorf("%x: hash %#x, zero key's %#x", b, got, want)
		}
	}
}

// reverse returns the key of the other direction.
func (k FlowKey) reverse() FlowKey {
	k.Src, k.Dst, k.SrcPort, k.DstPort = k.Dst, k.Src, k.DstPort, k.SrcPort
	return k
}

// checkHashes asserts what holds for any bytes at all.
func checkHashes(tb testing.TB, ip []byte) {
	tb.Helper()
	var k FlowKey
	ok := k.Parse(ip)
	for _, seed := range []uint64{0, 1, 0x0123456789abcdef} {
		h := HashFlow(ip, seed)
		if want := k.Hash(seed); h != want {
			tb.Errorf("seed %#x: HashFlow %#x, Hash %#x", seed, h, want)
		}
		r := k.reverse()
		if got := r.Hash(seed); got != h {
			tb.Errorf("seed %#x: reverse hash %#x, want %#x", seed, got, h)
		}
	}
	if !ok && k != (FlowKey{}) {
		tb.Errorf("key left behind: %+v", k)
	}
}

// Request and reply, and a packet and its answer, are one flow.
func TestHashFlowDirections(t *testing.T) {
	swap := func(ip []byte) []byte {
		ip = bytes.Clone(ip)
		if ip[0]>>4 == 4 {
			copy(ip[12:], v4Dst+v4Src)
		} else {
			copy(ip[8:], v6Dst+v6Src)
		}
		return ip
	}
	for name, pair := range map[string][2][]byte{
		"v4 TCP":  {sized(ipv4(protoTCP, 0, nil, l4(1, 2))), sized(swap(ipv4(protoTCP, 0, nil, l4(2, 1))))},
		"v6 TCP":  {sized(ipv6(protoTCP, l4(1, 2))), sized(swap(ipv6(protoTCP, l4(2, 1))))},
		"v4 echo": {sized(ipv4(protoICMP, 0, nil, icmpEcho(8, 5))), sized(swap(ipv4(protoICMP, 0, nil, icmpEcho(0, 5))))},
		"v6 echo": {sized(ipv6(protoICMPv6, icmpEcho(128, 5))), sized(swap(ipv6(protoICMPv6, icmpEcho(129, 5))))},
	} {
		if a, b := HashFlow(pair[0], 3), HashFlow(pair[1], 3); a != b {
			t.Errorf("%s: %#x and %#x", name, a, b)
		}
	}
}

// Every field of the key counts, swapping only addresses or only ports too.
func TestHashTellsApart(t *testing.T) {
	for _, version := range []uint8{4, 6} {
		base := FlowKey{Src: [16]byte{10, 0, 0, 1}, Dst: [16]byte{10, 0, 0, 2}, SrcPort: 1, DstPort: 2,
			Proto: 6, Version: version}
		seen := map[uint64]FlowKey{base.Hash(7): base}
		for i, change := range []func(*FlowKey){
			func(k *FlowKey) { k.Src[3]++ },
			func(k *FlowKey) { k.Dst[0]++ },
			func(k *FlowKey) { k.SrcPort++ },
			func(k *FlowKey) { k.DstPort += 256 },
			func(k *FlowKey) { k.Proto = 17 },
			func(k *FlowKey) { k.Fragment = true },
			func(k *FlowKey) { k.Version = 10 - k.Version },
			func(k *FlowKey) { k.Src, k.Dst = k.Dst, k.Src },
			func(k *FlowKey) { k.Dst = k.Src },
			func(k *FlowKey) { k.Dst, k.DstPort = k.Src, k.SrcPort },
			func(k *FlowKey) { k.Src, k.SrcPort = k.Dst, k.DstPort },
		} {
			k := base
			change(&k)
			h := k.Hash(7)
			if other, dup := seen[h]; dup {
				t.Errorf("version %d, change %d: %+v and %+v hash alike", version, i, k, other)
			}
			seen[h] = k
		}
		if base.Hash(7) == base.Hash(8) {
			t.Errorf("version %d: the seed does not count", version)
		}
	}
}

// populations are flows as they come in practice or from somebody who wants
// them in one bucket: each function writes the i-th of a series into k.
var populations = map[string]func(k *FlowKey, i uint32){
	"IPv4 consecutive sources":      func(k *FlowKey, i uint32) { binary.BigEndian.PutUint32(k.Src[:], 0x0a000000+i) },
	"IPv4 sources a /24 apart":      func(k *FlowKey, i uint32) { binary.BigEndian.PutUint32(k.Src[:], i<<8) },
	"IPv4 sources by high bits":     func(k *FlowKey, i uint32) { binary.BigEndian.PutUint32(k.Src[:], i<<18) },
	"IPv4 consecutive ports":        func(k *FlowKey, i uint32) { k.SrcPort = uint16(i) },
	"IPv4 both ports in step":       func(k *FlowKey, i uint32) { k.SrcPort, k.DstPort = uint16(i), uint16(i) },
	"IPv4 ports against each other": func(k *FlowKey, i uint32) { k.SrcPort, k.DstPort = uint16(i), uint16(-i) },
	"IPv4 echo to oneself": func(k *FlowKey, i uint32) {
		k.Src, k.Dst = [16]byte{127, 0, 0, 1}, [16]byte{127, 0, 0, 1}
		k.SrcPort, k.DstPort, k.Proto = uint16(i), uint16(i), 1
	},
	"IPv4 loopback pairs": func(k *FlowKey, i uint32) {
		binary.BigEndian.PutUint32(k.Src[:], 0x7f000000+i)
		binary.BigEndian.PutUint32(k.Dst[:], 0x7f000000-i)
	},
	"IPv4 same both ways": func(k *FlowKey, i uint32) {
		binary.BigEndian.PutUint32(k.Src[:], i)
		k.Dst = k.Src
	},
	"IPv6 consecutive hosts": func(k *FlowKey, i uint32) { k.Version = 6; binary.BigEndian.PutUint32(k.Src[12:], i) },
	"IPv6 consecutive networks": func(k *FlowKey, i uint32) {
		k.Version = 6
		binary.BigEndian.PutUint32(k.Src[4:], i)
	},
	"IPv6 consecutive ports": func(k *FlowKey, i uint32) { k.Version, k.SrcPort = 6, uint16(i) },
	"IPv6 both halves in step": func(k *FlowKey, i uint32) {
		k.Version = 6
		binary.BigEndian.PutUint32(k.Src[4:], i)
		binary.BigEndian.PutUint32(k.Src[12:], i)
	},
}

// Over 2 to 1024 buckets, cut from the low or from the high bits, each
// population must spread as evenly as random numbers do: within six standard
// deviations of chi squared.
func TestHashSpread(t *testing.T) {
	const flows = 16384
	for name, set := range populations {
		t.Run(name, func(t *testing.T) {
			for _, seed := range []uint64{0, 1, 0x9e3779b97f4a7c15} {
				var low, high [1024]float64
				for i := range uint32(flows) {
					k := FlowKey{Version: 4, Proto: 6, Src: [16]byte{192, 0, 2, 1}, Dst: [16]byte{198, 51, 100, 1},
						SrcPort: 40000, DstPort: 443}
					set(&k, i)
					h := k.Hash(seed)
					low[h%1024]++
					high[h>>54]++
				}
				for n := 2; n <= 1024; n *= 2 {
					byLow, byHigh := make([]float64, n), make([]float64, n)
					for i := range low {
						byLow[i%n] += low[i]
						byHigh[i*n/1024] += high[i]
					}
					for end, buckets := range map[string][]float64{"low": byLow, "high": byHigh} {
						// Chi squared has mean n-1 and variance 2(n-1).
						chi := 0.0
						for _, got := range buckets {
							d := got - flows/float64(n)
							chi += d * d / (flows / float64(n))
						}
						if dev := (chi - float64(n-1)) / math.Sqrt(2*float64(n-1)); dev > 6 {
							t.Errorf("seed %#x, %d buckets of the %s bits: chi squared %.0f, %.1f deviations", seed, n, end, chi, dev)
						}
					}
				}
			}
		})
	}
}

// A flipped bit of the key changes each bit of the hash half of the time.
func TestHashAvalanche(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const rounds = 2000
	for _, version := range []int{4, 6} {
		pkt := sized(ipv4(protoUDP, 0, nil, l4(1, 2)))
		first, last := 12*8, 24*8 // addresses and ports
		if version == 6 {
			pkt = sized(ipv6(protoUDP, l4(1, 2)))
			first, last = 8*8, 44*8
		}
		for bit := first; bit < last; bit++ {
			var flips [64]int
			for range rounds {
				for i := first / 8; i < last/8; i++ {
					pkt[i] = byte(rng.Uint32())
				}
				seed := rng.Uint64()
				h := HashFlow(pkt, seed)
				pkt[bit/8] ^= 1 << (bit % 8)
				for d, i := h^HashFlow(pkt, seed), 0; i < 64; i++ {
					flips[i] += int(d >> i & 1)
				}
			}
			for i, n := range flips {
				// Binomial: mean 1000, standard deviation 22; 7 of those.
				if n < rounds/2-157 || n > rounds/2+157 {
					t.Errorf("IPv%d: bit %d of the packet flips bit %d of the hash %d times of %d", version, bit, i, n, rounds)
				}
			}
		}
	}
}
