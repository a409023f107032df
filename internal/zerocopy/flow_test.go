package zerocopy

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// l4 is an upper-layer packet that begins with two ports.
func l4(src, dst uint16) []byte { return slices.Concat(be16(src), be16(dst), make([]byte, 16)) }

// icmpEcho is an ICMP message with an identifier.
func icmpEcho(typ uint8, id uint16) []byte {
	return slices.Concat([]byte{typ, 0, 0, 0}, be16(id), be16(1))
}

func TestFlowKeyParse(t *testing.T) {
	long := []byte{}
	for range maxExtHeaders {
		long = append(long, ext(60, 0)...)
	}
	for _, tt := range []struct {
		name     string
		ip       []byte
		proto    uint8
		src, dst uint16
		fragment bool
	}{
		{"TCP", ipv4(protoTCP, 0x4000, nil, l4(1000, 2000)), 6, 1000, 2000, false},
		{"UDP", ipv4(protoUDP, 0, nil, l4(1000, 2000)), 17, 1000, 2000, false},
		{"UDP-Lite", ipv4(protoUDPLite, 0, nil, l4(1, 2)), 136, 1, 2, false},
		{"SCTP", ipv4(protoSCTP, 0, nil, l4(1, 2)), 132, 1, 2, false},
		{"DCCP", ipv4(protoDCCP, 0, nil, l4(1, 2)), 33, 1, 2, false},
		{"GRE", ipv4(47, 0, nil, l4(1, 2)), 47, 0, 0, false},
		{"options", ipv4(protoTCP, 0, make([]byte, 40), l4(1, 2)), 6, 1, 2, false},
		{"options cut", ipv4(protoTCP, 0, make([]byte, 40), nil)[:44], 6, 0, 0, false},
		{"ports cut", ipv4(protoTCP, 0, nil, l4(1, 2)[:3]), 6, 0, 0, false},
		{"only ports", ipv4(protoTCP, 0, nil, l4(1, 2)[:4]), 6, 1, 2, false},
		{"first fragment", ipv4(protoUDP, 0x2000, nil, l4(1, 2)), 17, 0, 0, true},
		{"last fragment", ipv4(protoUDP, 0x0001, nil, l4(1, 2)), 17, 0, 0, true},
		{"echo fragment", ipv4(protoICMP, 0x2000, nil, icmpEcho(8, 77)), 1, 0, 0, true},
		{"echo request", ipv4(protoICMP, 0, nil, icmpEcho(8, 77)), 1, 77, 77, false},
		{"echo reply", ipv4(protoICMP, 0, nil, icmpEcho(0, 77)), 1, 77, 77, false},
		{"echo cut", ipv4(protoICMP, 0, nil, icmpEcho(0, 77)[:5]), 1, 0, 0, false},
		{"unreachable", ipv4(protoICMP, 0, nil, icmpEcho(3, 77)), 1, 0, 0, false},
		{"ICMPv6 in IPv4", ipv4(protoICMPv6, 0, nil, icmpEcho(128, 77)), 58, 0, 0, false},

		{"v6 TCP", ipv6(protoTCP, l4(1000, 2000)), 6, 1000, 2000, false},
		{"v6 echo request", ipv6(protoICMPv6, icmpEcho(128, 77)), 58, 77, 77, false},
		{"v6 echo reply", ipv6(protoICMPv6, icmpEcho(129, 77)), 58, 77, 77, false},
		{"v6 neighbour", ipv6(protoICMPv6, icmpEcho(135, 77)), 58, 0, 0, false},
		{"ICMP in IPv6", ipv6(protoICMP, icmpEcho(8, 77)), 1, 0, 0, false},
		{"v6 extensions", ipv6(0, ext(60, 0), ext(43, 1), ext(protoUDP, 3), l4(1, 2)), 17, 1, 2, false},
		{"v6 AH", ipv6(51, authHdr(protoTCP), l4(1, 2)), 6, 1, 2, false},
		{"v6 mobility, HIP, shim6", ipv6(135, ext(139, 0), ext(140, 0), ext(protoUDP, 0), l4(1, 2)), 17, 1, 2, false},
		{"v6 first fragment", ipv6(44, fragmentHdr(protoUDP, 1), l4(1, 2)), 17, 0, 0, true},
		{"v6 last fragment", ipv6(44, fragmentHdr(protoUDP, 0x10), l4(1, 2)), 17, 0, 0, true},
		{"v6 fragment of extensions", ipv6(44, fragmentHdr(60, 1), ext(protoUDP, 0), l4(1, 2)), 60, 0, 0, true},
		{"v6 atomic fragment", ipv6(44, fragmentHdr(protoUDP, 0x0006), l4(1, 2)), 17, 1, 2, false},
		{"v6 ESP", ipv6(50, l4(1, 2)), 50, 0, 0, false},
		{"v6 no next header", ipv6(59, l4(1, 2)), 59, 0, 0, false},
		{"v6 header only", ipv6(protoTCP), 6, 0, 0, false},
		{"v6 extension cut", ipv6(60, ext(protoUDP, 0)[:7]), 60, 0, 0, false},
		{"v6 extension too long", ipv6(60, ext(protoUDP, 9)[:72]), 60, 0, 0, false},
		{"v6 endless extensions", ipv6(60, long, ext(protoUDP, 0), l4(1, 2)), 60, 0, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := FlowKey{SrcPort: tt.src, DstPort: tt.dst, Proto: tt.proto, Fragment: tt.fragment}
			if want.Version = tt.ip[0] >> 4; want.Version == 4 {
				copy(want.Src[:], v4Src)
				copy(want.Dst[:], v4Dst)
			} else {
				copy(want.Src[:], v6Src)
				copy(want.Dst[:], v6Dst)
			}
			var k FlowKey
			if !k.Parse(tt.ip) {
				t.Fatal("not parsed")
			}
			if k != want {
				t.Errorf("got  %+v\nwant %+v", k, want)
			}
			checkHashes(t, tt.ip)
		})
	}
}

func TestTransport(t *testing.T) {
	long := []byte{}
	for range maxExtHeaders {
		long = append(long, ext(60, 0)...)
	}
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
		{"v6 atomic fragment", ipv6(44, fragmentHdr(protoUDP, 0), l4), l4},
		{"v6 fragment", ipv6(44, fragmentHdr(protoUDP, 1), l4), nil},
		{"v6 extension cut", ipv6(60, ext(protoUDP, 0)[:7]), nil},
		{"v6 endless extensions", ipv6(60, long, ext(protoUDP, 0), l4), nil},
		{"not IP", []byte("not an IP packet at all"), nil},
	} {
		if got := Transport(tt.ip); !bytes.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %x, want %x", tt.name, got, tt.want)
		}
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
		"v4 TCP":  {ipv4(protoTCP, 0, nil, l4(1, 2)), swap(ipv4(protoTCP, 0, nil, l4(2, 1)))},
		"v6 TCP":  {ipv6(protoTCP, l4(1, 2)), swap(ipv6(protoTCP, l4(2, 1)))},
		"v4 echo": {ipv4(protoICMP, 0, nil, icmpEcho(8, 5)), swap(ipv4(protoICMP, 0, nil, icmpEcho(0, 5)))},
		"v6 echo": {ipv6(protoICMPv6, icmpEcho(128, 5)), swap(ipv6(protoICMPv6, icmpEcho(129, 5)))},
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
		pkt := ipv4(protoUDP, 0, nil, l4(1, 2))
		first, last := 12*8, 24*8 // addresses and ports
		if version == 6 {
			pkt = ipv6(protoUDP, l4(1, 2))
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
