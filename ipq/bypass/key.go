package bypass

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/goipq/goipq/ipq"
)

// IP protocol numbers (IPPROTO_*), as in bpf/flow.h.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoDCCP     = 33
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoICMPv6   = 58
	protoNone     = 59
	protoOptions  = 60
	protoSCTP     = 132
	protoUDPLite  = 136
)

// Lengths of headers, as far as the programs read them.
const (
	tcpFlags = 13 // offset of the flags
	icmpID   = 4  // offset of an echo's identifier
)

// Flags of TCP.
const (
	flagSYN = 0x02
	flagACK = 0x10
)

// hasPorts reports whether the two ports at the start of the transport header
// tell flows of the protocol apart.
func hasPorts(proto uint8) bool {
	switch proto {
	case protoTCP, protoUDP, protoDCCP, protoSCTP, protoUDPLite:
		return true
	}
	return false
}

// hides reports whether a flow of the "protocol" is not what its packets are
// about: IPv6 extension headers that could not be passed, and no header at all.
func hides(proto uint8) bool {
	switch proto {
	case protoHopByHop, protoRouting, protoFragment, protoAH, protoNone, protoOptions:
		return true
	}
	return false
}

// isEcho reports whether an ICMP message of the protocol is an echo request or
// reply over IP of that version.
func isEcho(transport []byte, proto uint8, v4 bool) bool {
	if len(transport) < icmpID+2 {
		return false
	}
	switch typ := transport[0]; {
	case v4 && proto == protoICMP:
		return typ == 8 || typ == 0
	case !v4 && proto == protoICMPv6:
		return typ == 128 || typ == 129
	}
	return false
}

// keyOfPacket returns the key of the flow that the kernel's programs will see
// in packets like p, or why they will see none. They pass 16 IPv6 extension
// headers, so that the key of a packet with more may stand in the table, but is
// not found by packets like it.
func keyOfPacket(p *ipq.Packet) (kernelFlowKey, error) { return recognise(p.Flow(), p.Transport()) }

func recognise(f ipq.Flow, transport []byte) (kernelFlowKey, error) {
	switch {
	case !f.IsValid():
		return kernelFlowKey{}, errNotIP
	case f.Fragment:
		return kernelFlowKey{}, errFragment
	case f.Unknown:
		return kernelFlowKey{}, errHeaders
	case f.Protocol == protoTCP && len(transport) <= tcpFlags:
		return kernelFlowKey{}, errHeaders
	case isICMP(f.Protocol) && !isEcho(transport, f.Protocol, f.Src.Is4()):
		return kernelFlowKey{}, errNotEcho
	}
	return keyOf(f)
}

func isICMP(proto uint8) bool { return proto == protoICMP || proto == protoICMPv6 }

// keyOf returns the key of a flow, the same for both directions. ICMP is taken
// to be echo, which a Flow does not tell.
func keyOf(f ipq.Flow) (k kernelFlowKey, err error) {
	switch {
	case !f.IsValid():
		return k, errNotIP
	case f.Src.Is4() != f.Dst.Is4():
		return k, errAddresses
	case f.Fragment:
		return k, errFragment
	case f.Unknown, hides(f.Protocol):
		return k, errHeaders
	case hasPorts(f.Protocol) && f.SrcPort == 0 && f.DstPort == 0:
		return k, errNoPorts
	case isICMP(f.Protocol) && (f.SrcPort != f.DstPort || f.Src.Is4() != (f.Protocol == protoICMP)):
		return k, errNotEcho
	case !hasPorts(f.Protocol) && !isICMP(f.Protocol) && (f.SrcPort != 0 || f.DstPort != 0):
		return k, errNoPorts
	}
	k.Ports = uint32(swap16(f.SrcPort)) | uint32(swap16(f.DstPort))<<16
	version := uint32(6)
	if f.Src.Is4() {
		src, dst := f.Src.As4(), f.Dst.As4()
		version = 4
		k.Lo.Addr[0], k.Hi.Addr[0] = binary.NativeEndian.Uint32(src[:]), binary.NativeEndian.Uint32(dst[:])
	} else {
		src, dst := f.Src.As16(), f.Dst.As16()
		for i := range k.Lo.Addr {
			k.Lo.Addr[i], k.Hi.Addr[i] = binary.NativeEndian.Uint32(src[4*i:]), binary.NativeEndian.Uint32(dst[4*i:])
		}
	}
	k.Kind = uint32(f.Protocol) | version<<8
	k.sort()
	return k, nil
}

// sort puts the endpoints into the order that fill in bpf/flow.h does.
func (k *kernelFlowKey) sort() {
	swap := uint16(k.Ports) > uint16(k.Ports>>16)
	for i := len(k.Lo.Addr) - 1; i >= 0; i-- {
		if k.Lo.Addr[i] != k.Hi.Addr[i] {
			swap = k.Lo.Addr[i] > k.Hi.Addr[i]
		}
	}
	if swap {
		k.Lo, k.Hi = k.Hi, k.Lo
		k.Ports = bits.RotateLeft32(k.Ports, 16)
	}
}

// flow returns the flow of the key, in one of its two directions.
func (k *kernelFlowKey) flow() ipq.Flow {
	f := ipq.Flow{SrcPort: swap16(uint16(k.Ports)), DstPort: swap16(uint16(k.Ports >> 16)), Protocol: uint8(k.Kind)}
	var src, dst [16]byte
	for i := range k.Lo.Addr {
		binary.NativeEndian.PutUint32(src[4*i:], k.Lo.Addr[i])
		binary.NativeEndian.PutUint32(dst[4*i:], k.Hi.Addr[i])
	}
	if k.Kind>>8 == 4 {
		f.Src, f.Dst = netip.AddrFrom4([4]byte(src[:4])), netip.AddrFrom4([4]byte(dst[:4]))
	} else {
		f.Src, f.Dst = netip.AddrFrom16(src), netip.AddrFrom16(dst)
	}
	return f
}

// swap16 turns a port between the network's byte order and this machine's.
func swap16(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}
