package bench

import (
	"encoding/binary"
	"slices"

	"github.com/goipq/goipq/internal/zerocopy"
)

// packetMessage is what the kernel sends for an IP packet that came in by an
// Ethernet device: struct nlmsghdr and struct nfgenmsg, then attributes.
func packetMessage(ip []byte) []byte {
	b := make([]byte, zerocopy.HeaderLen, 256)
	b = append(b, 2, 0, 0, 7)                                            // AF_INET, version 0, queue 7
	b = attr(b, zerocopy.AttrPacketHdr, 0, 0, 1, 0, 0x08, 0x00, 1)       // id 256, IPv4, NF_INET_LOCAL_IN
	b = attr(b, zerocopy.AttrInDev, 0, 0, 0, 2)                          // ifindex 2
	b = attr(b, zerocopy.AttrHWAddr, 0, 6, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0) // 6 bytes of 8
	b = attr(b, zerocopy.AttrTimestamp, 0, 0, 0, 0, 0x65, 0x53, 0xf1, 0, // s
		0, 0, 0, 0, 0, 1, 0xe2, 0x40) // µs
	b = attr(b, zerocopy.AttrPayload, ip...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], zerocopy.TypePacket)
	return b
}

// attr appends a struct nlattr and its value, padded to four bytes.
func attr(b []byte, typ uint16, value ...byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(zerocopy.AttrHeaderLen+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, make([]byte, zerocopy.Pad(len(value)))...)
}

// udp4 and udp6 return UDP packets of size bytes, from the IP header on.
func udp4(size int) []byte {
	b := slices.Concat(
		[]byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0}, // version 4, don't fragment, TTL 64, UDP
		[]byte{192, 0, 2, 1, 198, 51, 100, 2},
		udpHeader(), make([]byte, size-28))
	return fixed(b)
}

func udp6(size int) []byte {
	b := slices.Concat(
		[]byte{0x60, 0, 0, 0, 0, 0, 17, 64}, // version 6, UDP, hop limit 64
		[]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		[]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2},
		udpHeader(), make([]byte, size-48))
	return fixed(b)
}

func udpHeader() []byte { return []byte{0xc3, 0x50, 0x00, 0x35, 0, 0, 0, 0} } // 50000 > 53

// fixed fills in the lengths and checksums.
func fixed(b []byte) []byte {
	if err := zerocopy.FixPacket(b); err != nil {
		panic(err)
	}
	return b
}
