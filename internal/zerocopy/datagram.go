package zerocopy

import "encoding/binary"

// DatagramLen returns how many of the bytes in ip are the IP datagram: what its
// header says, as the kernel reads it (ip_rcv, ip6_rcv). What follows is a
// trailer, such as the padding of a short Ethernet frame. Where the header says
// nothing that can be, or more than there is, all of ip is the datagram: one
// that is cut off, or longer than its length field can say (a jumbogram, a
// super-packet of BIG TCP).
func DatagramLen(ip []byte) int {
	switch version(ip) {
	case 4:
		return datagramLen4(ip)
	case 6:
		return datagramLen6(ip)
	}
	return len(ip)
}

func datagramLen4(ip []byte) int {
	if said := int(binary.BigEndian.Uint16(ip[2:])); said >= int(ip[0]&0xf)*4 {
		return min(len(ip), said)
	}
	return len(ip)
}

func datagramLen6(ip []byte) int {
	said := int(binary.BigEndian.Uint16(ip[4:]))
	if said != 0 || ip[6] != protoHopByHop { // whose option has a jumbogram's length
		return min(len(ip), ipv6HeaderLen+said)
	}
	return len(ip)
}
