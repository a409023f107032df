package zerocopy

import "encoding/binary"

// EtherTypes behind which an IP packet may be.
const (
	etherIPv4  = 0x0800 // ETH_P_IP
	etherVLAN  = 0x8100 // ETH_P_8021Q
	etherIPv6  = 0x86dd // ETH_P_IPV6
	etherPPPoE = 0x8864 // ETH_P_PPP_SES
	etherQinQ  = 0x88a8 // ETH_P_8021AD
)

const (
	vlanTagLen = 4 // its control information and the next EtherType
	pppoeLen   = 6 // without the PPP protocol, which the length in it counts
)

// PPP's numbers for IP.
const (
	pppIPv4 = 0x21 // PPP_IP
	pppIPv6 = 0x57 // PPP_IPV6
)

// Network finds the IP packet in payload, which is what follows a link-layer
// header of that EtherType: at once, or behind VLAN tags and the header of a
// PPPoE session, as the hooks of a bridge show it. The packet is
// payload[off:end]; of what follows it, end leaves out what is not of the PPPoE
// frame, and [DatagramLen] tells the rest. ok is false if there is no IP packet,
// also where its header has another version than what is before it says: the
// kernel drops that.
//
// Like the kernel, it takes EtherTypes 0x8100 and 0x88a8 for tags, however many
// there are, and a PPP protocol of one byte for one of two. It does not ask for
// PPPoE's version, type and code: not every receiver does.
func Network(etherType uint16, payload []byte) (off, end int, ok bool) {
	return NetworkOf(etherType, payload, len(payload))
}

// NetworkOf is Network for a frame with n bytes of payload, of which payload is
// the start.
func NetworkOf(etherType uint16, payload []byte, n int) (off, end int, ok bool) {
	end = n
	for {
		switch b := payload[off:min(end, len(payload))]; etherType {
		case etherIPv4:
			return off, end, version(b) == 4
		case etherIPv6:
			return off, end, version(b) == 6
		case etherVLAN, etherQinQ:
			if len(b) < vlanTagLen {
				return off, end, false
			}
			etherType = binary.BigEndian.Uint16(b[2:])
			off += vlanTagLen
		case etherPPPoE:
			if len(b) < pppoeLen {
				return off, end, false
			}
			off += pppoeLen
			end = min(end, off+int(binary.BigEndian.Uint16(b[4:])))
			var size int
			if etherType, size = pppProtocol(payload[off:min(end, len(payload))]); size == 0 {
				return off, end, false
			}
			off += size
		default:
			return off, end, false
		}
	}
}

// FixPPPoE makes the length in the PPPoE header right, if there is one in the
// payload before the IP packet that ends at offset end.
func FixPPPoE(etherType uint16, payload []byte, end int) {
	for off := 0; len(payload)-off >= vlanTagLen; off += vlanTagLen {
		switch b := payload[off:]; etherType {
		case etherVLAN, etherQinQ:
			etherType = binary.BigEndian.Uint16(b[2:])
		case etherPPPoE:
			if len(b) >= pppoeLen {
				binary.BigEndian.PutUint16(b[4:], uint16(end-off-pppoeLen))
			}
			return
		default:
			return
		}
	}
}

// Plain reports whether payload begins with the version of IP that the EtherType
// says, so that there is nothing in front of an IP packet. The rest of the header
// remains to be seen, as [HashFlow] does.
func Plain(etherType uint16, payload []byte) bool {
	if len(payload) == 0 {
		return false
	}
	v := payload[0] >> 4
	return etherType == etherIPv4 && v == 4 || etherType == etherIPv6 && v == 6
}

// pppProtocol returns the EtherType of what a PPP frame carries, and the length
// of its protocol field; 0 unless that is IP. The first byte of two is even, so
// an odd one stands alone (RFC 1661, section 6.5).
func pppProtocol(b []byte) (etherType uint16, n int) {
	if len(b) > 1 && b[0] == 0 {
		b, n = b[1:], 1
	}
	switch {
	case len(b) == 0:
	case b[0] == pppIPv4:
		return etherIPv4, n + 1
	case b[0] == pppIPv6:
		return etherIPv6, n + 1
	}
	return 0, 0
}
