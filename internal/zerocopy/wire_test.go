package zerocopy

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// unhex decodes hex digits, ignoring white space.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// littleEndian skips a test of bytes that were recorded on such a host.
func littleEndian(tb testing.TB) {
	tb.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		tb.Skip("bytes of a little-endian host")
	}
}

// nla builds one attribute with its padding.
func nla(typ uint16, val ...[]byte) []byte {
	b := make([]byte, AttrHeaderLen)
	for _, v := range val {
		b = append(b, v...)
	}
	binary.NativeEndian.PutUint16(b, uint16(len(b)))
	binary.NativeEndian.PutUint16(b[2:], typ)
	return append(b, make([]byte, -len(b)&3)...)
}

// message builds an nfnetlink message. Its last attribute stays unpadded if
// it was given so.
func message(typ uint16, family uint8, queue uint16, attrs ...[]byte) []byte {
	b := make([]byte, attrStart)
	b[16] = family
	binary.BigEndian.PutUint16(b[18:], queue)
	for _, a := range attrs {
		b = append(b, a...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	return b
}

// payload builds the kernel's NFQA_PAYLOAD: last, and not padded.
func payload(p []byte) []byte { return nla(AttrPayload, p)[:AttrHeaderLen+len(p)] }

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func packetHdr(id uint32, proto uint16, hook uint8) []byte {
	return nla(AttrPacketHdr, be32(id), be16(proto), []byte{hook})
}

func hwAddr(n uint16, addr ...byte) []byte {
	return nla(AttrHWAddr, be16(n), []byte{0, 0}, append(addr, make([]byte, 8-len(addr))...))
}

// A walked attribute as the oracle sees it.
type walked struct {
	off int
	val []byte
}

// walk is the oracle: a plain map of the attributes of a whole, well-formed
// message, the last of each number.
func walk(tb testing.TB, msg []byte) map[int]walked {
	tb.Helper()
	attrs := map[int]walked{}
	for pos := 20; pos < len(msg); {
		n := int(binary.NativeEndian.Uint16(msg[pos:]))
		typ := int(binary.NativeEndian.Uint16(msg[pos+2:]) & 0x3fff)
		if n < 4 || pos+n > len(msg) {
			tb.Fatalf("oracle: attribute %d at %d has length %d of %d", typ, pos, n, len(msg)-pos)
		}
		attrs[typ] = walked{pos + 4, msg[pos+4 : pos+n]}
		for pos += n; pos%4 != 0; pos++ {
		}
	}
	return attrs
}

// fullAttrs is every attribute that the kernel can put into a packet message,
// in its order, each with a value of its own.
func fullAttrs(pay []byte) [][]byte {
	return [][]byte{
		packetHdr(0x01020304, 0x86dd, 3),
		nla(AttrInDev, be32(11)),
		nla(AttrPhysInDev, be32(12)),
		nla(AttrOutDev, be32(13)),
		nla(AttrPhysOutDev, be32(14)),
		nla(AttrMark, be32(0xdeadbeef)),
		nla(AttrPriority, be32(0x00010006)),
		hwAddr(6, 2, 0, 0, 0xaa, 0xbb, 0xcc),
		nla(AttrVLAN|nestedFlag, nla(attrVLANTCI, be16(0x6064)), nla(attrVLANProto, be16(0x88a8))),
		nla(AttrL2Hdr, []byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\xaa\xbb\xcc\x86\xdd")),
		nla(AttrTimestamp, be64(1700000000), be64(123456)),
		nla(AttrUID, be32(1000)),
		nla(AttrGID, be32(100)),
		nla(AttrCgroupClassID, be32(0x00100001)),
		nla(AttrSecCtx, []byte("system_u:object_r:unlabeled_t:s0\x00")),
		nla(AttrCT|nestedFlag, conntrackNest()),
		nla(AttrCTInfo, be32(2)),
		nla(AttrCapLen, be32(1400)),
		nla(AttrSkbInfo, be32(SkbCsumNotReady|SkbGSO)),
		payload(pay),
	}
}

func fullMessage(pay []byte) []byte {
	return message(TypePacket, 10, 0x0102, fullAttrs(pay)...)
}

// typicalMessage is what the kernel sends for a plain packet that came in by
// an interface: header, interface, hardware address, timestamp, payload.
func typicalMessage(pay []byte) []byte {
	return message(TypePacket, 2, 0, packetHdr(7, 0x0800, 1), nla(AttrInDev, be32(2)),
		hwAddr(6, 2, 0, 0, 0, 0, 1), nla(AttrTimestamp, be64(1700000000), be64(1)), payload(pay))
}

// conntrackNest is NFQA_CT as ctnetlink's glue builds it for a confirmed TCP
// connection in a zone, with a helper, label bits and a mark.
func conntrackNest() []byte {
	tuple := func(typ uint16, src, dst string, sport, dport uint16) []byte {
		return nla(typ|nestedFlag,
			nla(ctaTupleIP|nestedFlag, nla(ctaIPv4Src, []byte(src)), nla(ctaIPv4Dst, []byte(dst))),
			nla(ctaTupleProto|nestedFlag, nla(ctaProtoNum, []byte{6}),
				nla(ctaProtoSrcPort, be16(sport)), nla(ctaProtoDstPort, be16(dport))))
	}
	return slices.Concat(
		tuple(ctaTupleOrig, "\x0a\x00\x00\x01", "\x5d\xb8\xd8\x22", 40000, 443),
		tuple(ctaTupleReply, "\x5d\xb8\xd8\x22", "\xc0\x00\x02\x01", 443, 50000),
		nla(ctaZone, be16(7)),
		nla(ctaID, be32(0xcafef00d)),
		nla(ctaStatus, be32(0x18e)),
		nla(ctaTimeout, be32(431999)),
		nla(4|nestedFlag, nla(1|nestedFlag, nla(1, []byte{3}), nla(2, []byte{7}), nla(3, []byte{7}))), // CTA_PROTOINFO
		nla(5|nestedFlag, nla(1, []byte("ftp\x00"))),                                                  // CTA_HELP
		nla(ctaMark, be32(0x42)),
		nla(ctaLabels, []byte("\x01\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x40")),
	)
}
