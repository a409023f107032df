package nftexpr

import (
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A FlowKey is what tells flows apart in a set, as a rule loads it: address, address,
// protocol, and two numbers of two bytes, each padded to four. It is that of the
// packet, or with Reverse of those that answer it.
type FlowKey struct {
	Family  uint8 // of the packet: unix.AF_INET or unix.AF_INET6
	Numbers Numbers
	Reverse bool
	// Plain takes IPv6's next header for the protocol. It is one only where there
	// are no extension headers, so that other packets have no key that is in a set.
	Plain bool
}

// Numbers are what tells flows between two hosts apart, besides the protocol.
type Numbers uint8

const (
	Ports   Numbers = iota // the source and the destination port
	EchoID                 // the identifier of an ICMP echo, twice
	NoPorts                // zeros
)

// size is that of an address.
func (k FlowKey) size() uint32 {
	if k.Family == unix.AF_INET {
		return 4
	}
	return 16
}

// at returns the register of the key's n-th word behind the addresses.
func (k FlowKey) at(n uint32) uint32 { return reg + 2*k.size()/4 + n }

// Protocol loads the protocol to its place, and asks for it, or with not for all
// others. Conditions may stand between it and LoadRest.
func (k FlowKey) Protocol(number uint8, not bool) Condition {
	op := expr.CmpOpEq
	if not {
		op = expr.CmpOpNeq
	}
	return Condition{k.loadProtocol(), &expr.Cmp{Op: op, Register: k.at(0), Data: []byte{number}}}
}

// AnyProtocol loads the protocol to its place, whatever it is.
func (k FlowKey) AnyProtocol() Condition { return Condition{k.loadProtocol()} }

func (k FlowKey) loadProtocol() expr.Any {
	if k.Plain && k.Family == unix.AF_INET6 {
		return &expr.Payload{DestRegister: k.at(0), Base: expr.PayloadBaseNetworkHeader, Offset: 6, Len: 1}
	}
	return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: k.at(0)}
}

// Load loads the key. A packet that lacks some of it leaves the rule.
func (k FlowKey) Load() []expr.Any { return append(k.LoadRest(), k.loadProtocol()) }

// LoadRest is Load behind Protocol or AnyProtocol.
func (k FlowKey) LoadRest() []expr.Any {
	src, dst := uint32(12), uint32(16)
	if k.Family == unix.AF_INET6 {
		src, dst = 8, 24
	}
	first, second := uint32(0), uint32(2)
	if k.Numbers == EchoID {
		first, second = 4, 4
	}
	if k.Reverse {
		src, dst = dst, src
		first, second = second, first
	}
	load := func(to uint32, base expr.PayloadBase, offset, size uint32) expr.Any {
		return &expr.Payload{DestRegister: to, Base: base, Offset: offset, Len: size}
	}
	all := []expr.Any{
		load(reg, expr.PayloadBaseNetworkHeader, src, k.size()),
		load(reg+k.size()/4, expr.PayloadBaseNetworkHeader, dst, k.size()),
	}
	if k.Numbers == NoPorts {
		return append(all,
			&expr.Immediate{Register: k.at(1), Data: make([]byte, 4)},
			&expr.Immediate{Register: k.at(2), Data: make([]byte, 4)})
	}
	return append(all,
		load(k.at(1), expr.PayloadBaseTransportHeader, first, 2),
		load(k.at(2), expr.PayloadBaseTransportHeader, second, 2))
}

// LoadedIn asks for a key, which was loaded, that is in the set.
func LoadedIn(set string) expr.Any { return &expr.Lookup{SourceRegister: reg, SetName: set} }

// Keep has the set hold the key that was loaded, from now on for the time-out, or for
// good if that is 0. A packet for which there is no room leaves the rule; so it does
// if an expression of the element says so.
func Keep(set string, timeout time.Duration, element ...expr.Any) expr.Any {
	return &expr.Dynset{SrcRegKey: reg, SetName: set, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: timeout, Exprs: element}
}

// Forget takes the key that was loaded out of the set, if it is there.
func Forget(set string) expr.Any {
	const opDelete = 2 // NFT_DYNSET_OP_DELETE, Linux 5.4
	return &expr.Dynset{SrcRegKey: reg, SetName: set, Operation: opDelete}
}

// Once has one packet leave the rule in every interval, of 1 ms at least, or in a
// shorter one: the kernel has whole numbers only.
func Once(interval time.Duration) expr.Any {
	unit := (interval + time.Second - 1) / time.Second
	rate := (unit*time.Second + interval - 1) / interval
	return &expr.Limit{Type: expr.LimitTypePkts, Over: true, Unit: expr.LimitTime(unit), Rate: uint64(rate), Burst: 1}
}

// Header4 asks for a packet of IPv4, by its version, whose header is as long as op says,
// with what is in it but options. Local senders of raw packets may write headers
// that are too short.
func Header4(op expr.CmpOp) Condition {
	return Condition{fromNetwork(0, 1).load, &expr.Cmp{Op: op, Register: reg, Data: []byte{0x45}}}
}

// Unfragmented asks for a packet of IPv4 that is no fragment.
func Unfragmented() Condition {
	return fromNetwork(6, 2).Masked([]byte{0, 0}, []byte{0x3f, 0xff}) // MF and the offset
}

// FirstOrWhole asks for a packet of IPv4 that is no fragment behind the first.
func FirstOrWhole() Condition {
	return fromNetwork(6, 2).Masked([]byte{0, 0}, []byte{0x1f, 0xff})
}

// Payload6 asks for a packet of IPv6 with so many bytes behind its header: there may be
// more bytes behind the datagram. In IPv4 the kernel sees to that.
func Payload6(least uint8) Condition {
	return Condition{fromNetwork(4, 2).load, &expr.Cmp{Op: expr.CmpOpGte, Register: reg, Data: []byte{0, least}}}
}
