package nftexpr

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// reg is the register that every part of a rule loads into.
const reg = unix.NFT_REG32_00

// Types of ICMP messages (RFC 792, RFC 4443).
const (
	icmpEchoRequest   = 8
	icmpv6EchoRequest = 128
)

var icmpType = fromTransport(0, 1)

// A Condition is a part of a rule. The kernel runs what follows only if it
// holds. Its last expression compares, or looks up, what the others have loaded.
type Condition []expr.Any

// Not returns the opposite of c. A packet from which the kernel can load
// nothing, such as a fragment without ports, meets neither.
func (c Condition) Not() Condition {
	c = slices.Clone(c)
	switch last := &c[len(c)-1]; e := (*last).(type) {
	case *expr.Cmp:
		unlike := *e
		unlike.Op = opposite(e.Op)
		*last = &unlike
	case *expr.Range:
		unlike := *e
		unlike.Op = opposite(e.Op)
		*last = &unlike
	case *expr.Lookup:
		unlike := *e
		unlike.Invert = !e.Invert
		*last = &unlike
	}
	return c
}

func opposite(op expr.CmpOp) expr.CmpOp {
	if op == expr.CmpOpEq {
		return expr.CmpOpNeq
	}
	return expr.CmpOpEq
}

// Family selects unix.AF_INET or unix.AF_INET6, in a table of both.
func Family(family uint8) Condition {
	return meta(expr.MetaKeyNFPROTO, []byte{family}) // NFPROTO_IPV4 is AF_INET, NFPROTO_IPV6 AF_INET6
}

// Protocol selects the protocol of an IP packet's payload, behind all extension
// headers.
func Protocol(number uint8) Condition { return Protocols.Is([]byte{number}) }

// InDev selects the link that a packet came in by.
func InDev(name string) Condition { return InDevs.Is(LinkName(name)) }

// OutDev selects the link that a packet goes out by.
func OutDev(name string) Condition { return OutDevs.Is(LinkName(name)) }

// SrcPort selects a source port. It takes a condition on the protocol before it,
// TCP, UDP, UDP-Lite, SCTP or DCCP: of others it reads whatever is there.
func SrcPort(port uint16) Condition { return SrcPorts.Is(binary.BigEndian.AppendUint16(nil, port)) }

// DstPort selects a destination port, under the terms of [SrcPort].
func DstPort(port uint16) Condition { return DstPorts.Is(binary.BigEndian.AppendUint16(nil, port)) }

// EchoRequests selects ICMP's requests of an echo of the family, or of both if
// it is 0. Each is a protocol of its own, and so needs a rule: the conditions of
// one element. There is no need for [Family], which the protocol tells.
func EchoRequests(family uint8) (rules [][]Condition) {
	if family != unix.AF_INET6 {
		rules = append(rules, []Condition{Protocol(unix.IPPROTO_ICMP), icmpType.Is([]byte{icmpEchoRequest})})
	}
	if family != unix.AF_INET {
		rules = append(rules, []Condition{Protocol(unix.IPPROTO_ICMPV6), icmpType.Is([]byte{icmpv6EchoRequest})})
	}
	return rules
}

// Echo selects an echo request or reply, behind a condition on the protocol.
func Echo(family uint8) Condition {
	if family == unix.AF_INET { // types 8 and 0
		return icmpType.Masked([]byte{0}, []byte{^uint8(icmpEchoRequest)})
	}
	return icmpType.Masked([]byte{icmpv6EchoRequest}, []byte{0xfe}) // types 128 and 129
}

func meta(key expr.MetaKey, data []byte) Condition {
	return Condition{&expr.Meta{Key: key, Register: reg}, equal(data)}
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }

// LinkName returns the name as the kernel compares it: padded with zeros to
// IFNAMSIZ.
func LinkName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}
