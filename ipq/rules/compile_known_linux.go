package rules

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/internal/nftexpr"
	"golang.org/x/sys/unix"
)

// known returns what is about what the kernel knows of a packet.
func (p *program) known(what string, m Match) (parts []part) {
	if s := m.CTState; s != 0 {
		names := stateNames(s)
		parts = append(parts, part{
			text:      "ct state " + strings.Join(names, ","),
			opposite:  "ct state & (" + strings.Join(names, "|") + ") == 0",
			condition: nftexpr.ConnState.HasAny(native(uint32(s))),
		})
	}
	for _, mark := range []struct {
		left string
		kind nftexpr.Mark
		Mark
	}{{"meta mark", nftexpr.PacketMark, m.Mark}, {"ct mark", nftexpr.ConnMark, m.ConnMark}} {
		if mark.Mask == 0 {
			continue
		}
		left := mark.left
		if mark.Mask != math.MaxUint32 {
			left += fmt.Sprintf(" & %#x", mark.Mask)
		}
		parts = append(parts, compare(left, fmt.Sprintf("%#x", mark.Value), mark.kind.Is(mark.Value, mark.Mask)))
	}
	if len(m.ConnLabels) > 0 {
		names := strings.Join(decimal(m.ConnLabels), ",")
		parts = append(parts, part{
			text:      "ct label " + names,
			opposite:  "ct label ! " + names,
			condition: nftexpr.ConnLabels.HasAny(labelBits(m.ConnLabels)),
		})
	}
	switch uids := sorted(m.UIDs); len(uids) {
	case 0:
	case 1:
		parts = append(parts, compare("meta skuid", fmt.Sprint(uids[0]), nftexpr.SocketUID.Is(native(uids[0]))))
	default:
		var elements []nftconn.Element
		for _, uid := range uids {
			elements = append(elements, nftconn.Element{Key: native(uid)})
		}
		text := func() []string { return decimal(uids) }
		parts = append(parts, lookUp("meta skuid", nftexpr.SocketUID, p.addSet(what+".UIDs", nftconn.UID, false, elements, text)))
	}
	return parts
}

// addresses returns the alternatives of addresses: one for each family.
func (p *program) addresses(what string, m, not Match) (alternatives [][]part) {
	lists := []struct {
		field, direction string
		addrs            []netip.Prefix
		of               func(uint8) nftexpr.Field
		not              bool
	}{
		{".Match.SrcAddrs", "saddr", m.SrcAddrs, nftexpr.SrcAddr, false},
		{".Match.DstAddrs", "daddr", m.DstAddrs, nftexpr.DstAddr, false},
		{".Not.SrcAddrs", "saddr", not.SrcAddrs, nftexpr.SrcAddr, true},
		{".Not.DstAddrs", "daddr", not.DstAddrs, nftexpr.DstAddr, true},
	}
	found := false
	for _, l := range lists {
		found = found || len(l.addrs) > 0
	}
	if !found {
		return [][]part{nil}
	}
	may := families(m.SrcAddrs) & families(m.DstAddrs)
	for _, f := range []struct {
		bit, family uint8
		header      string
		etherType   uint16
		typ         nftconn.SetType
	}{{isIPv4, unix.AF_INET, "ip", unix.ETH_P_IP, nftconn.IPv4}, {isIPv6, unix.AF_INET6, "ip6", unix.ETH_P_IPV6, nftconn.IPv6}} {
		if may&f.bit == 0 {
			continue
		}
		family := part{text: "meta nfproto " + map[uint8]string{isIPv4: "ipv4", isIPv6: "ipv6"}[f.bit], condition: nftexpr.Family(f.family)}
		if p.set.Family == Bridge {
			family = part{text: "meta protocol " + f.header, condition: nftexpr.EtherType.Is(binary.BigEndian.AppendUint16(nil, f.etherType))}
		}
		var parts []part
		for _, l := range lists {
			list, single := addrIntervals(l.addrs, f.bit)
			if len(list) == 0 {
				continue
			}
			one := p.address(what+l.field, f.header+" "+l.direction, l.of(f.family), f.typ, list, single)
			if l.not {
				one = one.not()
			}
			parts = append(parts, one)
		}
		if len(parts) == 0 {
			parts = []part{family}
		} else { // nft adds the condition by itself
			parts[0].condition = append(slices.Clone(family.condition), parts[0].condition...)
		}
		alternatives = append(alternatives, parts)
	}
	return alternatives
}

func (p *program) address(what, left string, f nftexpr.Field, typ nftconn.SetType, list []interval, single bool) part {
	if len(list) == 1 {
		if prefix, ok := list[0].prefix(); ok && prefix.IsSingleIP() {
			return compare(left, list[0].addrText(), f.Is(list[0].first))
		} else if ok && prefix.Bits() > 0 {
			return compare(left, list[0].addrText(), f.Masked(list[0].first, prefixMask(prefix.Bits(), typ.Len)))
		}
	}
	return lookUp(left, f, p.addSet(what, typ, !single, elementsOf(list, single), texts(list, interval.addrText)))
}

// labelBits returns labels as the kernel holds them: bits of an array of longs.
func labelBits(labels []uint8) []byte {
	var words [2]uint64
	for _, l := range labels {
		words[l/64] |= 1 << (l % 64)
	}
	var b []byte
	for _, w := range words {
		if bits.UintSize == 32 {
			b = binary.NativeEndian.AppendUint32(b, uint32(w))
			b = binary.NativeEndian.AppendUint32(b, uint32(w>>32))
		} else {
			b = binary.NativeEndian.AppendUint64(b, w)
		}
	}
	return b
}

func native(value uint32) []byte { return binary.NativeEndian.AppendUint32(nil, value) }
