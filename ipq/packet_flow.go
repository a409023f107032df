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
//
// What is not certain is said to be [Flow.Unknown]. A policy should look at that
// first, and drop what it does not know:
//
//	if f := p.Flow(); !f.IsValid() || f.Unknown {
//		return ipq.Drop
//	}
type Flow struct {
	Src, Dst netip.Addr
	// SrcPort and DstPort are those of TCP, UDP, UDP-Lite, SCTP and DCCP. An
	// ICMP or ICMPv6 echo has its identifier in both. They are 0 where there
	// are none to see: of another protocol, of a fragment, and where they are
	// cut off, of which Unknown is set. So a port of 0 is the packet's own only
	// if neither Fragment nor Unknown is set.
	SrcPort, DstPort uint16
	// Protocol is the IP protocol number of the payload behind all IPv6
	// extension headers, as many as there are. Extension headers are those of
	// the kernel: hop-by-hop options (0), routing (43), fragment (44),
	// authentication (51) and destination options (60). A Mobility Header (135),
	// HIP (139) and Shim6 (140) are protocols, ESP (50) and "no next header"
	// (59) the last that can be seen. In IPv4 the number is the header's, also
	// where it is one of these.
	//
	// Where Unknown is set it may be the number of an extension header that
	// could not be passed.
	Protocol uint8
	// Fragment is set for every fragment of a datagram, the first included:
	// the others have no ports, and they belong together. The first one's
	// Protocol is what the receiver will find in the whole datagram. A later
	// one's is what it names itself; over IPv6 that may be anything, and the
	// receiver goes by the first. So whoever decides about first fragments by
	// their protocol decides about datagrams. Ports are to be seen where the
	// kernel has put datagrams together, as connection tracking has it do.
	Fragment bool
	// Unknown is set of a packet that does not show for certain what its
	// receiver will act on:
	//
	//   - its headers are cut off, by the sender or by [Config.SnapLen];
	//   - a header says that it is longer than what is left of the datagram;
	//   - it is a later fragment whose datagram goes on with an extension
	//     header, so that the protocol stands in another fragment;
	//   - its ports are cut off, or what tells an echo of ICMP and its
	//     identifier. Protocol is right then.
	//
	// A policy that drops some protocols or ports and accepts the rest is evaded
	// by such a packet unless it drops that, too. One that accepts some and drops
	// the rest should still ask: Protocol alone may be known.
	Unknown bool
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

// Hash returns a hash of the flow that is the same in both directions, and for
// all fragments of a datagram. It is keyed by a secret of this process: the same
// flow has another hash in the next.
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

// String returns for example "tcp 192.0.2.1:443 > 192.0.2.2:50000", or "unknown
// protocol 60 2001:db8::1 > 2001:db8::2".
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
		name += " fragment"
	}
	if f.Unknown {
		name = "unknown " + name
	}
	if f.Fragment || f.Unknown {
		return fmt.Sprintf("%s %v > %v", name, f.Src, f.Dst)
	}
	return fmt.Sprintf("%s %v > %v", name, netip.AddrPortFrom(f.Src, f.SrcPort), netip.AddrPortFrom(f.Dst, f.DstPort))
}

func flowOf(ip []byte) Flow {
	var k zerocopy.FlowKey
	if !k.Parse(ip) {
		return Flow{}
	}
	f := Flow{SrcPort: k.SrcPort, DstPort: k.DstPort, Protocol: k.Proto, Fragment: k.Fragment, Unknown: k.Unknown}
	if k.Version == 4 {
		f.Src, f.Dst = netip.AddrFrom4([4]byte(k.Src[:4])), netip.AddrFrom4([4]byte(k.Dst[:4]))
	} else {
		f.Src, f.Dst = netip.AddrFrom16(k.Src), netip.AddrFrom16(k.Dst)
	}
	return f
}
