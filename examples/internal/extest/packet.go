package extest

import "encoding/binary"

// IPv4 protocols.
const (
	TCP = 6
	UDP = 17
)

// PacketTo returns an IPv4 packet of that protocol to that port, for handlers, which do
// not care for its checksums. fragment is the header's flags and fragment offset.
func PacketTo(protocol byte, port, fragment uint16) []byte {
	b := make([]byte, 40)
	b[0], b[3], b[8], b[9] = 0x45, 40, 64, protocol
	binary.BigEndian.PutUint16(b[6:], fragment)
	copy(b[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(b[22:], port)
	b[25] = 20 // the UDP length
	return b
}
