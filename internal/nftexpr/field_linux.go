package nftexpr

import (
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A Field is something of a packet, or of what the kernel knows about it, that
// conditions look at.
type Field struct {
	load expr.Any // into the register
	size int      // bytes; 0: up to what it is compared with
}

// The fields of which several values are compared.
var (
	SrcPorts = fromTransport(0, 2)
	DstPorts = fromTransport(2, 2)
	TCPFlags = fromTransport(13, 1)

	InDevs    = Field{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}, 0}
	OutDevs   = Field{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg}, 0}
	SocketUID = Field{&expr.Meta{Key: expr.MetaKeySKUID, Register: reg}, 4}

	// Protocols is that of an IP packet's payload, behind all extension headers.
	Protocols = Field{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, 1}

	// EtherType is what a frame carries, in a table of family bridge.
	EtherType = Field{&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: reg}, 2}

	ConnState  = Field{&expr.Ct{Key: expr.CtKeySTATE, Register: reg}, 4}
	ConnLabels = Field{&expr.Ct{Key: expr.CtKeyLABELS, Register: reg}, 16}

	// SocketMark is the mark of the local socket that a packet is for or from,
	// at Prerouting, Input and Output.
	SocketMark = Field{&expr.Socket{Key: expr.SocketKeyMark, Register: reg}, 4}
)

// SrcAddr is the source address of IPv4 (unix.AF_INET) or IPv6. It takes a
// condition on the family before it.
func SrcAddr(family uint8) Field {
	if family == unix.AF_INET {
		return fromNetwork(12, 4)
	}
	return fromNetwork(8, 16)
}

// DstAddr is the destination address, under the terms of [SrcAddr].
func DstAddr(family uint8) Field {
	if family == unix.AF_INET {
		return fromNetwork(16, 4)
	}
	return fromNetwork(24, 16)
}

func fromNetwork(offset, size int) Field { return payload(expr.PayloadBaseNetworkHeader, offset, size) }

func fromTransport(offset, size int) Field {
	return payload(expr.PayloadBaseTransportHeader, offset, size)
}

func payload(base expr.PayloadBase, offset, size int) Field {
	return Field{&expr.Payload{DestRegister: reg, Base: base, Offset: uint32(offset), Len: uint32(size)}, size}
}

// Is compares the field. A name's first bytes are compared, so pad it.
func (f Field) Is(value []byte) Condition { return Condition{f.load, equal(value)} }

// Masked compares the bits of mask with those of value.
func (f Field) Masked(value, mask []byte) Condition {
	return Condition{f.load, f.and(mask), equal(value)}
}

// HasAny asks for at least one of the bits of mask.
func (f Field) HasAny(mask []byte) Condition {
	return Condition{f.load, f.and(mask), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, f.size)}}
}

func (f Field) and(mask []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(f.size), Mask: mask, Xor: make([]byte, f.size)}
}

// Between asks for a value from first to last, in network order.
func (f Field) Between(first, last []byte) Condition {
	return Condition{f.load, &expr.Range{Op: expr.CmpOpEq, Register: reg, FromData: first, ToData: last}}
}

// In asks for a value that is in a set.
func (f Field) In(set string) Condition {
	return Condition{f.load, &expr.Lookup{SourceRegister: reg, SetName: set}}
}

// FlowHash goes to one of n chains by the kernel's own hash of a packet's
// addresses, protocol and, but for fragments, ports, which is the same for both
// directions of a flow (NFT_HASH_SYM, Linux 4.16). The map is one from 0 to n-1.
func FlowHash(n int, mapName string) []expr.Any {
	return []expr.Any{
		&expr.Hash{DestRegister: reg, Modulus: uint32(n), Type: expr.HashTypeSym},
		&expr.Lookup{SourceRegister: reg, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: mapName},
	}
}

// SetLabels sets labels of the packet's connection. The others stay.
func SetLabels(labels []byte) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: reg, Data: labels},
		&expr.Ct{Key: expr.CtKeyLABELS, Register: reg, SourceRegister: true},
	}
}
