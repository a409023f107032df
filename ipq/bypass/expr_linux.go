package bypass

import (
	"encoding/binary"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// reg is the nftables register that every comparison here uses.
const reg = unix.NFT_REG32_00

// exprs returns the conditions of m as expressions, once for each kernel rule
// that it takes: a port may be on either side, an echo request of either
// family.
func (m Match) exprs() [][]expr.Any {
	switch {
	case m.EchoRequest: // the protocol tells the family
		var all [][]expr.Any
		family := m.Family
		m.Family = 0
		if m.Protocol = protoICMP; family != familyIPv6 {
			all = append(all, append(m.base(), transport(0, []byte{8})...))
		}
		if m.Protocol = protoICMPv6; family != familyIPv4 {
			all = append(all, append(m.base(), transport(0, []byte{128})...))
		}
		return all
	case m.Port != 0:
		port := binary.BigEndian.AppendUint16(nil, m.Port)
		return [][]expr.Any{append(m.base(), transport(0, port)...), append(m.base(), transport(2, port)...)}
	}
	return [][]expr.Any{m.base()}
}

func (m Match) base() []expr.Any {
	var e []expr.Any
	if m.Family != 0 {
		e = append(e, meta(expr.MetaKeyNFPROTO, []byte{m.Family})...) // NFPROTO_IPV4 is AF_INET, NFPROTO_IPV6 AF_INET6
	}
	if m.Protocol != 0 {
		e = append(e, meta(expr.MetaKeyL4PROTO, []byte{m.Protocol})...)
	}
	if m.InDev != "" {
		e = append(e, meta(expr.MetaKeyIIFNAME, linkName(m.InDev))...)
	}
	if m.OutDev != "" {
		e = append(e, meta(expr.MetaKeyOIFNAME, linkName(m.OutDev))...)
	}
	return e
}

func meta(key expr.MetaKey, data []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data}}
}

func transport(offset uint32, data []byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: uint32(len(data))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data},
	}
}

// negations returns conditions, each a load and its comparison, one by one and
// the other way round. A packet from which the kernel can load nothing, such as
// a fragment without ports, meets neither a condition nor its negation.
func negations(conditions []expr.Any) [][]expr.Any {
	var all [][]expr.Any
	for pair := range slices.Chunk(conditions, 2) {
		unlike := *pair[1].(*expr.Cmp)
		unlike.Op = expr.CmpOpNeq
		all = append(all, []expr.Any{pair[0], &unlike})
	}
	return all
}

// linkName returns the name as the kernel compares it: padded with zeros to
// IFNAMSIZ.
func linkName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// program is a condition: that the program returns other than 0. The kernel
// takes the program from the descriptor, and holds it for as long as the rule
// stands.
func program(p *ebpf.Program, match string) expr.Any {
	// struct xt_bpf_info_v1: u16 mode (2 is a descriptor), u16 bpf_program_num_elem,
	// s32 fd, at 8 a union of 512 bytes, at 520 a pointer that the kernel fills in.
	info := make(xt.Unknown, 528)
	binary.NativeEndian.PutUint16(info[0:], 2)
	binary.NativeEndian.PutUint32(info[4:], uint32(p.FD()))
	return &expr.Match{Name: match, Rev: 1, Info: &info}
}

// native returns a mark as the kernel's registers hold it.
func native(mark uint32) []byte { return binary.NativeEndian.AppendUint32(nil, mark) }

// has is a condition: that a mark, of a packet or its connection, has a bit set.
func has(load expr.Any, bits uint32) []expr.Any {
	return []expr.Any{
		load,
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native(bits), Xor: native(0)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: native(bits)},
	}
}

// change clears and sets bits of a mark.
func change(load, store expr.Any, clear, set uint32) []expr.Any {
	// The kernel computes (mark & mask) ^ xor.
	return []expr.Any{
		load,
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: native(^(clear | set)), Xor: native(set)},
		store,
	}
}

func loadMark() expr.Any { return &expr.Meta{Key: expr.MetaKeyMARK, Register: reg} }
func storeMark() expr.Any {
	return &expr.Meta{Key: expr.MetaKeyMARK, Register: reg, SourceRegister: true}
}
func loadConnMark() expr.Any { return &expr.Ct{Key: expr.CtKeyMARK, Register: reg} }
func storeConnMark() expr.Any {
	return &expr.Ct{Key: expr.CtKeyMARK, Register: reg, SourceRegister: true}
}

// queue sends packets to the queues: with nft's own expression or, on kernels
// without it, the NFQUEUE target of xtables, which nft runs through its compat
// layer.
func (r Rules) queue(own bool) expr.Any {
	if own {
		q := &expr.Queue{Num: r.Queue, Total: uint16(r.Queues)}
		if r.QueueBypass {
			q.Flag |= expr.QueueFlagBypass
		}
		if r.FanoutCPU {
			q.Flag |= expr.QueueFlagFanout
		}
		return q
	}
	var flags uint16
	if r.QueueBypass {
		flags |= 0x01 // NFQ_FLAG_BYPASS
	}
	if r.FanoutCPU {
		flags |= 0x02 // NFQ_FLAG_CPU_FANOUT
	}
	// struct xt_NFQ_info_v3: u16 queuenum, queues_total, flags; XT_ALIGN rounds
	// its 6 bytes up to 8.
	info := make(xt.Unknown, 8)
	binary.NativeEndian.PutUint16(info[0:], r.Queue)
	binary.NativeEndian.PutUint16(info[2:], uint16(r.Queues))
	binary.NativeEndian.PutUint16(info[4:], flags)
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}
}
