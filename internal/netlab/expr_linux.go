package netlab

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// ICMP types of an echo request (RFC 792, RFC 4443).
const (
	icmpEcho   = 8
	icmpv6Echo = 128
)

// reg is the nftables register that every comparison here uses.
const reg = unix.NFT_REG32_00

// expand returns the conditions of m as expressions, once for each kernel rule
// that it takes: echo requests of both families are two protocols, so they take
// two. It refuses what could never match.
func (m Match) expand() ([][]expr.Any, error) {
	switch {
	case m.Family != 0 && m.Family != unix.AF_INET && m.Family != unix.AF_INET6:
		return nil, invalid("family %d is neither AF_INET nor AF_INET6", m.Family)
	case m.EchoRequest && (m.L4Proto != 0 || m.DstPort != 0):
		return nil, invalid("EchoRequest excludes L4Proto and DstPort")
	case m.DstPort != 0 && m.L4Proto == 0:
		return nil, invalid("DstPort needs L4Proto")
	case len(m.InDev) >= unix.IFNAMSIZ || len(m.OutDev) >= unix.IFNAMSIZ:
		return nil, invalid("link name over %d bytes", unix.IFNAMSIZ-1)
	}
	if !m.EchoRequest {
		return [][]expr.Any{m.exprs(0)}, nil
	}
	var all [][]expr.Any
	if m.Family != unix.AF_INET6 {
		v4 := m
		v4.Family, v4.L4Proto = unix.AF_INET, unix.IPPROTO_ICMP
		all = append(all, v4.exprs(icmpEcho))
	}
	if m.Family != unix.AF_INET {
		v6 := m
		v6.Family, v6.L4Proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
		all = append(all, v6.exprs(icmpv6Echo))
	}
	return all, nil
}

// exprs returns the conditions of one kernel rule. icmpType is 0 for any: of
// the types, only requests are asked for, and they are not 0.
func (m Match) exprs(icmpType byte) []expr.Any {
	var e []expr.Any
	meta := func(key expr.MetaKey, op expr.CmpOp, data []byte) {
		e = append(e, &expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: op, Register: reg, Data: data})
	}
	transport := func(offset uint32, data []byte) {
		e = append(e,
			&expr.Payload{
				DestRegister: reg,
				Base:         expr.PayloadBaseTransportHeader,
				Offset:       offset,
				Len:          uint32(len(data)),
			},
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data})
	}
	if m.Family != 0 {
		meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{m.Family}) // NFPROTO_IPV4 is AF_INET, NFPROTO_IPV6 AF_INET6
	}
	if m.L4Proto != 0 {
		meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{m.L4Proto})
	}
	if m.Mark != 0 {
		meta(expr.MetaKeyMARK, expr.CmpOpEq, binary.NativeEndian.AppendUint32(nil, m.Mark))
	}
	if m.NotMark != 0 {
		meta(expr.MetaKeyMARK, expr.CmpOpNeq, binary.NativeEndian.AppendUint32(nil, m.NotMark))
	}
	if m.InDev != "" {
		meta(expr.MetaKeyIIFNAME, expr.CmpOpEq, linkName(m.InDev))
	}
	if m.OutDev != "" {
		meta(expr.MetaKeyOIFNAME, expr.CmpOpEq, linkName(m.OutDev))
	}
	if icmpType != 0 {
		transport(0, []byte{icmpType})
	}
	if m.DstPort != 0 {
		transport(2, binary.BigEndian.AppendUint16(nil, m.DstPort)) // UDP, TCP, SCTP, DCCP alike
	}
	return e
}

// linkName returns the name as the kernel compares it: padded with zeros to
// IFNAMSIZ.
func linkName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// queues returns how many queues the rule fills.
func (r Rule) queues() (uint16, error) {
	// The last number is 65535; so is the highest count, even from 0 on.
	limit := min(1<<16-int(r.Queue), math.MaxUint16)
	if r.Queues < 0 || r.Queues > limit {
		return 0, invalid("%d queues from queue %d on: at most %d are possible", r.Queues, r.Queue, limit)
	}
	return uint16(max(r.Queues, 1)), nil
}

// queueExpr returns nft's own queue expression for the rule.
func queueExpr(r Rule) (expr.Any, error) {
	total, err := r.queues()
	if err != nil {
		return nil, err
	}
	var flags expr.QueueFlag
	if r.Bypass {
		flags |= expr.QueueFlagBypass
	}
	if r.FanoutCPU {
		flags |= expr.QueueFlagFanout
	}
	return &expr.Queue{Num: r.Queue, Total: total, Flag: flags}, nil
}

// targetExpr returns the same for kernels without it: the NFQUEUE target of
// xtables, revision 3, which nft runs through its compat layer.
func targetExpr(r Rule) (expr.Any, error) {
	total, err := r.queues()
	if err != nil {
		return nil, err
	}
	var flags uint16
	if r.Bypass {
		flags |= 0x01 // NFQ_FLAG_BYPASS
	}
	if r.FanoutCPU {
		flags |= 0x02 // NFQ_FLAG_CPU_FANOUT
	}
	// struct xt_NFQ_info_v3: u16 queuenum, queues_total, flags in native
	// order; XT_ALIGN rounds its 6 bytes up to 8.
	info := make(xt.Unknown, 8)
	binary.NativeEndian.PutUint16(info[0:], r.Queue)
	binary.NativeEndian.PutUint16(info[2:], total)
	binary.NativeEndian.PutUint16(info[4:], flags)
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("netlab: rule: "+format+": %w", append(args, os.ErrInvalid)...)
}
