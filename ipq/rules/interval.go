package rules

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// An interval is values from first to last, both included, in network order.
type interval struct{ first, last []byte }

// addrIntervals returns the addresses of a family, in order, without overlaps.
// single reports that all of them are addresses, and no networks.
func addrIntervals(addrs []netip.Prefix, family uint8) (list []interval, single bool) {
	single = true
	for _, prefix := range addrs {
		if families([]netip.Prefix{prefix}) != family {
			continue
		}
		single = single && prefix.IsSingleIP()
		list = append(list, interval{prefix.Masked().Addr().AsSlice(), endOf(prefix).AsSlice()})
	}
	return inOrder(list, single), single
}

// portIntervals returns ranges of ports in order, without overlaps. single reports
// that all of them are one port each.
func portIntervals(ranges []PortRange) (list []interval, single bool) {
	single = true
	for _, r := range ranges {
		single = single && r.First == r.Last
		list = append(list, interval{binary.BigEndian.AppendUint16(nil, r.First), binary.BigEndian.AppendUint16(nil, r.Last)})
	}
	return inOrder(list, single), single
}

// inOrder sorts intervals, and joins them if they are more than single values.
func inOrder(list []interval, single bool) []interval {
	slices.SortFunc(list, func(a, b interval) int { return bytes.Compare(a.first, b.first) })
	if single {
		return slices.CompactFunc(list, func(a, b interval) bool { return bytes.Equal(a.first, b.first) })
	}
	return merge(list)
}

// merge joins intervals, in order of their beginnings, that overlap or touch.
func merge(list []interval) []interval {
	var merged []interval
	for _, next := range list {
		if n := len(merged); n > 0 {
			last := &merged[n-1].last
			if behind := after(*last); behind == nil || bytes.Compare(next.first, behind) <= 0 {
				if bytes.Compare(*last, next.last) < 0 {
					*last = next.last
				}
				continue
			}
		}
		merged = append(merged, next)
	}
	return merged
}

// after returns the next value, nil behind the last one.
func after(value []byte) []byte {
	next := bytes.Clone(value)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			return next
		}
	}
	return nil
}

// addrText returns an interval of addresses as nft and iptables write it.
func (v interval) addrText() string {
	first, _ := netip.AddrFromSlice(v.first)
	last, _ := netip.AddrFromSlice(v.last)
	if prefix, ok := v.prefix(); !ok {
		return fmt.Sprintf("%v-%v", first, last)
	} else if !prefix.IsSingleIP() {
		return prefix.String()
	}
	return first.String()
}

// prefix returns the interval as a network, if it is one.
func (v interval) prefix() (netip.Prefix, bool) {
	all := v.prefixes()
	return all[0], len(all) == 1
}

// prefixes returns the networks that an interval consists of.
func (v interval) prefixes() (all []netip.Prefix) {
	for {
		first, _ := netip.AddrFromSlice(v.first)
		last, _ := netip.AddrFromSlice(v.last)
		n := 0
		for ; n < first.BitLen(); n++ { // the largest that begins here and ends in time
			if p := netip.PrefixFrom(first, n); p.Masked().Addr() == first && !last.Less(endOf(p)) {
				break
			}
		}
		p := netip.PrefixFrom(first, n)
		all = append(all, p)
		if endOf(p) == last {
			return all
		}
		v.first = after(endOf(p).AsSlice())
	}
}

// endOf returns the last address of a network.
func endOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i, m := range prefixMask(p.Bits(), len(b)) {
		b[i] |= ^m
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

func (v interval) portText() string {
	return PortRange{binary.BigEndian.Uint16(v.first), binary.BigEndian.Uint16(v.last)}.String()
}
