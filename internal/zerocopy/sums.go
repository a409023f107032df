package zerocopy

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// ErrPending means that a packet leaves a checksum to the network device which
// is not that of the packet's own upper-layer header, but of one inside of it,
// as with tunnels. Nothing in the packet tells where.
var ErrPending = errors.New("zerocopy: a checksum inside of the packet is pending")

// Sums remembers what the lengths and checksums of a datagram came to before an
// edit, so that the edit leaves what was right right and what was wrong wrong.
// The zero Sums remembers nothing: all is to be made right.
type Sums struct {
	taken   bool
	pending bool // the upper-layer checksum is not filled in yet

	v4                  bool
	header, headerField uint16 // the IPv4 header's sum, and the checksum in it

	proto        uint8
	hasUpper     bool
	variant      variant // the reading by which it was right, if it was
	upper, field uint16  // the upper layer's sum, and the checksum in it
	at           int

	crcRight bool
	crc      uint32
	surplus  int // bytes of the datagram behind what UDP's length says
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Take remembers the sums of the datagram b, before it is edited. With pending,
// a checksum is left to the network device. It returns ErrPending if that cannot
// be the upper layer's, and ErrNotIP as FixPacket does. It never allocates.
func (s *Sums) Take(b []byte, pending bool) error {
	*s = Sums{}
	u, ok := parseWhole(b)
	if !ok {
		return ErrNotIP
	}
	s.taken, s.pending, s.proto = true, pending, u.proto
	if b[0]>>4 == 4 {
		s.v4, s.header, s.headerField = true, sum16(b[:u.off]), binary.BigEndian.Uint16(b[10:])
	}
	if isSCTP(b, u) {
		s.crc = sctpField(b, u)
		s.crcRight = pending || s.crc == sctpSum(b, u)
		return nil
	}
	c, other, ok := findSum(b, u, 0)
	if !ok {
		if pending {
			return ErrPending
		}
		return nil
	}
	s.hasUpper, s.at = true, c.at
	s.field = binary.BigEndian.Uint16(b[c.at:])
	if u.proto == protoUDP {
		s.surplus = len(b) - c.to
	}
	if pending {
		// Only TCP and UDP leave theirs to the device. Inside of UDP there may
		// be a tunnel, whose inner checksum is the one.
		if u.proto != protoTCP && (u.proto != protoUDP || oneZero(s.field) != oneZero(c.pseudo(b))) {
			return ErrPending
		}
		s.upper = 0xffff
		return nil
	}
	if s.upper = c.total(b); s.upper != 0xffff {
		if v, ok := rightOtherwise(b, u, other); ok {
			s.variant, s.upper = v, 0xffff
		}
	}
	return nil
}

// oneZero makes one of the two zeroes that ones' complement has.
func oneZero(n uint16) uint16 {
	if n == 0xffff {
		return 0
	}
	return n
}

// Update brings the checksums of the datagram b up to date after bytes of it
// were changed in place: what was right is right again, what was wrong is as
// wrong. A checksum that was itself changed stays as it is now, and so do all
// lengths. Where an edit has made another upper-layer header of it, that one's
// checksum is made right. It never allocates.
//
// It cannot mend that a later fragment was changed: the datagram's checksum is
// in the first. Neither does it know the checksums of protocols other than TCP,
// UDP, UDP-Lite, DCCP, SCTP, ICMP, ICMPv6, IGMP, GRE, RSVP, EIGRP, OSPF, PIM,
// VRRP, Mobile IPv6, HIP and Shim6, nor of what is inside of tunnels.
func (s *Sums) Update(b []byte) {
	b = b[:DatagramLen(b)] // it may have been made shorter
	u, ok := parseWhole(b)
	if !ok || !s.taken {
		return
	}
	if s.v4 && b[0]>>4 == 4 && binary.BigEndian.Uint16(b[10:]) == s.headerField {
		adjustHeader(b, sum16(b[:u.off]), s.header)
	}
	if isSCTP(b, u) {
		if same := s.proto == protoSCTP; !same || s.crcRight && sctpField(b, u) == s.crc {
			putSCTP(b, u)
		}
		return
	}
	c, _, ok := findSum(b, u, s.variant)
	if !ok {
		return
	}
	field := binary.BigEndian.Uint16(b[c.at:])
	switch same := s.hasUpper && s.proto == u.proto && s.at == c.at; {
	case !same:
		if !c.unsure && !(c.zeroIsNone && field == 0) {
			c.adjust(b, c.total(b), 0xffff)
		}
	case field == s.field && !(c.zeroIsNone && field == 0 && !s.pending):
		c.adjust(b, c.total(b), s.upper)
	}
}

// Fix makes the lengths and checksums of the datagram b right, which takes the
// place of the one remembered: as FixPacket does, but a checksum that was wrong
// is as wrong in b, unless it is right there already; one that there was none
// of, UDP's over IPv4, is not made; and a UDP length stays, whatever it is, if
// the IP length was right.
func (s *Sums) Fix(b []byte) error {
	u, ok := parseWhole(b)
	if !ok {
		return ErrNotIP
	}
	var resized bool
	if b[0]>>4 == 4 {
		resized = int(binary.BigEndian.Uint16(b[2:])) != len(b)
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		if is, want := sum16(b[:u.off]), uint16(0xffff); is != want {
			if s.v4 {
				want = s.header
			}
			adjustHeader(b, is, want)
		}
	} else {
		resized = int(binary.BigEndian.Uint16(b[4:])) != len(b)-ipv6HeaderLen
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6HeaderLen))
	}
	if isSCTP(b, u) {
		if s.proto != protoSCTP || s.crcRight {
			putSCTP(b, u)
		}
		return nil
	}
	if u.proto == protoUDP && !u.fragment && u.dst >= 0 && len(b)-u.off >= 8 {
		h := b[u.off:]
		if said := int(binary.BigEndian.Uint16(h[4:])); resized || !s.taken && (said < 8 || said > len(h)) {
			binary.BigEndian.PutUint16(h[4:], uint16(max(8, len(h)-s.surplus)))
		}
	}
	same := s.hasUpper && s.proto == u.proto
	v, want := variant(0), uint16(0xffff)
	if same {
		v, want = s.variant, s.upper
	}
	c, other, ok := findSum(b, u, v)
	if !ok || c.unsure {
		return nil
	}
	none := c.zeroIsNone && binary.BigEndian.Uint16(b[c.at:]) == 0
	if same && c.zeroIsNone && s.field == 0 && !s.pending { // there was none before
		if none {
			return nil
		}
		want = 0xffff
	}
	is := c.total(b)
	if !none {
		if is == 0xffff {
			return nil
		}
		if _, ok := rightOtherwise(b, u, other); ok {
			return nil
		}
	}
	c.adjust(b, is, want)
	return nil
}

// sum16 adds up b in ones' complement.
func sum16(b []byte) uint16 { return fold(sum(b)) }

// SCTP's checksum is a CRC-32C, in the order of bytes that makes it little
// endian (RFC 9260, appendix A).
const (
	sctpHeaderLen  = 12
	sctpChecksumAt = 8
)

func isSCTP(b []byte, u upper) bool {
	return u.proto == protoSCTP && !u.fragment && len(b)-u.off >= sctpHeaderLen
}

func sctpField(b []byte, u upper) uint32 {
	return binary.LittleEndian.Uint32(b[u.off+sctpChecksumAt:])
}

func sctpSum(b []byte, u upper) uint32 {
	var zero [4]byte
	h := b[u.off:]
	crc := crc32.Update(0, castagnoli, h[:sctpChecksumAt])
	crc = crc32.Update(crc, castagnoli, zero[:])
	return crc32.Update(crc, castagnoli, h[sctpHeaderLen:])
}

func putSCTP(b []byte, u upper) {
	binary.LittleEndian.PutUint32(b[u.off+sctpChecksumAt:], sctpSum(b, u))
}
