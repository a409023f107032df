package ipq

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/goipq/goipq/internal/zerocopy"
)

// IP protocol numbers (IPPROTO_*). Package syscall does not have all of them on
// every system.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// flowSeed keys the flow hash, so that nobody who cannot read this process's
// memory can choose flows that all hash to one value.
var flowSeed = rand.Uint64()

// A Flow is what identifies a packet's flow: its five-tuple. It is comparable
// and can be the key of a map.
type Flow struct {
	Src, Dst netip.Addr
	// SrcPort and DstPort are those of TCP, UDP, UDP-Lite, SCTP and DCCP. An
	// ICMP or ICMPv6 echo has its identifier in both. Otherwise, and for
	// fragments, they are 0.
	SrcPort, DstPort uint16
	// Protocol is the IP protocol number of the payload behind all IPv6
	// extension headers.
	Protocol uint8
	// Fragment is set for every fragment of a datagram, the first included:
	// the others have no ports, and they belong together.
	Fragment bool
}

// IsValid reports whether the flow was read from an IP packet. The flow of
// anything else is the zero Flow.
func (f Flow) IsValid() bool { return f.Src.IsValid() }

// Reverse returns the flow of the packets that go the other way.
func (f Flow) Reverse() Flow {
	f.Src, f.Dst = f.Dst, f.Src
	f.SrcPort, f.DstPort = f.DstPort, f.SrcPort
	return f
}

// Hash returns a hash of the flow that is the same in both directions. It is
// keyed by a secret of this process: the same flow has another hash in the
// next.
func (f Flow) Hash() uint64 {
	k := zerocopy.FlowKey{SrcPort: f.SrcPort, DstPort: f.DstPort, Proto: f.Protocol, Fragment: f.Fragment}
	switch {
	case f.Src.Is4() && f.Dst.Is4():
		k.Version = 4
		src, dst := f.Src.As4(), f.Dst.As4()
		copy(k.Src[:], src[:])
		copy(k.Dst[:], dst[:])
	case f.Src.IsValid() && f.Dst.IsValid():
		k.Version, k.Src, k.Dst = 6, f.Src.As16(), f.Dst.As16()
	default:
		k = zerocopy.FlowKey{}
	}
	return k.Hash(flowSeed)
}

// String returns for example "tcp 192.0.2.1:443 > 192.0.2.2:50000".
func (f Flow) String() string {
	if !f.IsValid() {
		return "no flow"
	}
	name := fmt.Sprintf("protocol %d", f.Protocol)
	switch f.Protocol {
	case protoTCP:
		name = "tcp"
	case protoUDP:
		name = "udp"
	case protoICMP:
		name = "icmp"
	case protoICMPv6:
		name = "icmpv6"
	}
	if f.Fragment {
		return fmt.Sprintf("%s fragment %v > %v", name, f.Src, f.Dst)
	}
	return fmt.Sprintf("%s %v > %v", name, netip.AddrPortFrom(f.Src, f.SrcPort), netip.AddrPortFrom(f.Dst, f.DstPort))
}

func flowOf(ip []byte) Flow {
	var k zerocopy.FlowKey
	if !k.Parse(ip) {
		return Flow{}
	}
	f := Flow{SrcPort: k.SrcPort, DstPort: k.DstPort, Protocol: k.Proto, Fragment: k.Fragment}
	if k.Version == 4 {
		f.Src, f.Dst = netip.AddrFrom4([4]byte(k.Src[:4])), netip.AddrFrom4([4]byte(k.Dst[:4]))
	} else {
		f.Src, f.Dst = netip.AddrFrom16(k.Src), netip.AddrFrom16(k.Dst)
	}
	return f
}
