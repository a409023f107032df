package rules

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// Intervals have the same ports as the ranges that they are made of, in order,
// with gaps between them.
func TestPortIntervals(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var ranges []PortRange
		var wanted [1 << 16]bool
		for range rng.IntN(12) {
			first := uint16(65500 + rng.IntN(36))
			if rng.IntN(2) == 0 {
				first = uint16(rng.IntN(60))
			}
			r := PortRange{first, first + uint16(rng.IntN(int(min(5, 65535-first))+1))}
			ranges = append(ranges, r)
			for p := int(r.First); p <= int(r.Last); p++ {
				wanted[p] = true
			}
		}
		var got [1 << 16]bool
		before := -2
		list, single := portIntervals(ranges)
		for _, v := range list {
			first, last := int(binary.BigEndian.Uint16(v.first)), int(binary.BigEndian.Uint16(v.last))
			if first <= before || first == before+1 && !single || single && first != last {
				t.Fatalf("%v: %d behind %d", ranges, first, before)
			}
			before = last
			for p := first; p <= last; p++ {
				got[p] = true
			}
		}
		if got != wanted {
			t.Fatalf("%v: other ports", ranges)
		}
	}
}

// Networks are merged, and come back as networks that have the same addresses.
func TestAddrIntervals(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		var list []netip.Prefix
		for range 1 + rng.IntN(8) {
			list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, byte(rng.IntN(256))}), 24+rng.IntN(9)))
		}
		has := func(all []netip.Prefix, a netip.Addr) bool {
			return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a) })
		}
		intervals, _ := addrIntervals(list, isIPv4)
		var back []netip.Prefix
		for _, v := range intervals {
			back = append(back, v.prefixes()...)
		}
		for i := range 256 {
			if a := netip.AddrFrom4([4]byte{255, 255, 255, byte(i)}); has(list, a) != has(back, a) {
				t.Fatalf("%v became %v", list, back)
			}
		}
		if other, _ := addrIntervals(list, isIPv6); len(other) != 0 {
			t.Fatal("IPv6")
		}
	}
	for _, text := range []string{"0.0.0.0/0", "::/0", "10.0.0.0/8", "2001:db8::1/128", "255.255.255.255/32"} {
		p := netip.MustParsePrefix(text)
		list, single := addrIntervals([]netip.Prefix{p}, families([]netip.Prefix{p}))
		if got, ok := list[0].prefix(); !ok || got != p || single != p.IsSingleIP() {
			t.Errorf("%v became %v, %v, %v", p, got, ok, single)
		}
	}
}
