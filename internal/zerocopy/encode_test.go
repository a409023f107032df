package zerocopy

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/mdlayher/netlink"
)

// Composed by hand from linux/netlink.h, nfnetlink_queue.h and
// nfnetlink_conntrack.h.
func TestEncodeGolden(t *testing.T) {
	littleEndian(t)
	const id = 0x0a0b0c0d
	// head is nlmsghdr with the message length in its first byte, and nfgenmsg.
	head := func(n, typ string) string {
		return n + `000000 ` + typ + `03 0100 0d0c0b0a 00000000  00 00 0102  0c00 0200 `
	}
	attrs := func(a VerdictAttrs) func([]byte) int {
		return func(b []byte) int { return PutVerdictAttrs(b, 0x0102, id, 1, &a) }
	}
	all := VerdictAttrs{
		Has:  HasMark | HasPriority | HasVLAN | HasCTMark | HasCTLabels | HasPayload,
		Mark: 0x11223344, Priority: 6, VLANProto: 0x8100, VLANTCI: 0x2064,
		CTMark: 0xaabbccdd, CTMask: 0xffff0000, PayloadLen: 5,
		CTLabels: &CTLabels{Value: [16]byte{0: 1, 15: 0x80}, Mask: [16]byte{0: 3, 15: 0xc0}},
	}
	none := all
	none.Has = 0
	for _, tt := range []struct {
		name string
		put  func(b []byte) int
		want string
	}{
		{"accept", func(b []byte) int { return PutVerdict(b, 0x0102, id, 1) },
			head("20", "01") + `00000001 0a0b0c0d`},
		{"requeue", func(b []byte) int { return PutVerdict(b, 0x0102, id, 0x00070003) },
			head("20", "01") + `00070003 0a0b0c0d`},
		{"batch", func(b []byte) int { return PutVerdictBatch(b, 0x0102, id, 0) },
			head("20", "03") + `00000000 0a0b0c0d`},
		{"none", attrs(none), head("20", "01") + `00000001 0a0b0c0d`},
		{"mark", attrs(VerdictAttrs{Has: HasMark, Mark: 0x11223344}),
			head("28", "01") + `00000001 0a0b0c0d  0800 0300 11223344`},
		{"mark 0", attrs(VerdictAttrs{Has: HasMark}),
			head("28", "01") + `00000001 0a0b0c0d  0800 0300 00000000`},
		{"priority", attrs(VerdictAttrs{Has: HasPriority, Priority: 6}),
			head("28", "01") + `00000001 0a0b0c0d  0800 1500 00000006`},
		{"vlan", attrs(VerdictAttrs{Has: HasVLAN, VLANProto: 0x88a8, VLANTCI: 7}),
			head("34", "01") + `00000001 0a0b0c0d  1400 1380 0600 0200 0007 0000 0600 0100 88a8 0000`},
		{"ct mark", attrs(VerdictAttrs{Has: HasCTMark, CTMark: 0x42}),
			head("2c", "01") + `00000001 0a0b0c0d  0c00 0b80 0800 0800 00000042`},
		{"ct mark, every bit", attrs(VerdictAttrs{Has: HasCTMark, CTMark: 0x42, CTMask: 0xffffffff}),
			head("2c", "01") + `00000001 0a0b0c0d  0c00 0b80 0800 0800 00000042`},
		{"ct mark, masked", attrs(VerdictAttrs{Has: HasCTMark, CTMark: 0x42, CTMask: 0xff}),
			head("34", "01") + `00000001 0a0b0c0d  1400 0b80 0800 0800 00000042 0800 1500 000000ff`},
		{"payload", attrs(VerdictAttrs{Has: HasPayload, PayloadLen: 0x55}),
			head("79", "01") + `00000001 0a0b0c0d  5900 0a00`},
		{"ct labels", attrs(VerdictAttrs{Has: HasCTLabels, CTLabels: all.CTLabels}),
			head("4c", "01") + `00000001 0a0b0c0d  2c00 0b80
			1400 1600 01000000 00000000 00000000 00000080  1400 1700 03000000 00000000 00000000 000000c0`},
		{"all", attrs(all), head("89", "01") + `00000001 0a0b0c0d
			0800 0300 11223344  0800 1500 00000006
			1400 1380 0600 0200 2064 0000 0600 0100 8100 0000
			3c00 0b80 0800 0800 aabbccdd 0800 1500 ffff0000
			1400 1600 01000000 00000000 00000000 00000080  1400 1700 03000000 00000000 00000000 000000c0
			0900 0a00`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Old bytes must not show through.
			b := bytes.Repeat([]byte{0xee}, MaxVerdictLen+8)
			n := tt.put(b)
			if want := unhex(t, tt.want); !bytes.Equal(b[:n], want) {
				t.Errorf("got  %x\nwant %x", b[:n], want)
			}
			if rest := b[n:]; !bytes.Equal(rest[len(rest)-8:], bytes.Repeat([]byte{0xee}, 8)) {
				t.Errorf("wrote beyond MaxVerdictLen: %x", rest)
			}
		})
	}
	if n := all; PutVerdictAttrs(make([]byte, MaxVerdictLen), 0, 0, 0, &n) != MaxVerdictLen {
		t.Errorf("MaxVerdictLen is %d", MaxVerdictLen)
	}
}

// The largest payload still fits nla_len, and nlmsg_len goes beyond 16 bits.
func TestPutVerdictAttrsLargestPayload(t *testing.T) {
	b := make([]byte, MaxVerdictLen)
	n := PutVerdictAttrs(b, 1, 2, 1, &VerdictAttrs{Has: HasPayload, PayloadLen: MaxCopyRange})
	if h, _ := ParseHeader(b); h.Len != VerdictLen+AttrHeaderLen+MaxCopyRange {
		t.Errorf("nlmsg_len %d", h.Len)
	}
	if nla := binary.NativeEndian.Uint16(b[n-4:]); nla != 0xffff {
		t.Errorf("nla_len %d", nla)
	}
}

// A write of several messages, payload and padding between them, must read as
// just those messages.
func TestVerdictStreamReadsBack(t *testing.T) {
	buf := make([]byte, MaxVerdictLen)
	var stream []byte
	for size := range 9 {
		n := PutVerdictAttrs(buf, 3, uint32(size), 1, &VerdictAttrs{
			Has: HasMark | HasCTMark | HasPayload, Mark: 5, CTMark: 6, CTMask: 7, PayloadLen: size})
		stream = append(stream, buf[:n]...)
		stream = append(stream, bytes.Repeat([]byte{0xab}, size)...)
		stream = append(stream, make([]byte, Pad(size))...)
		n = PutVerdict(buf, 3, 100+uint32(size), 0)
		stream = append(stream, buf[:n]...)
	}
	for size := range 9 {
		for _, id := range []uint32{uint32(size), 100 + uint32(size)} {
			h, msg, rest, ok := NextMessage(stream)
			if !ok || h.Seq != id || h.Type != TypeVerdict || h.Flags != requestFlag {
				t.Fatalf("id %d: header %+v", id, h)
			}
			stream = rest
			ad, err := netlink.NewAttributeDecoder(append(msg[attrStart:len(msg):len(msg)], make([]byte, Pad(len(msg)))...))
			if err != nil {
				t.Fatalf("id %d: %v", id, err)
			}
			ad.ByteOrder = binary.BigEndian
			for ad.Next() {
				switch ad.Type() {
				case AttrVerdictHdr:
					if v := ad.Uint64(); uint32(v) != id {
						t.Errorf("id %d: verdict header %x", id, v)
					}
				case AttrMark:
					if v := ad.Uint32(); v != 5 {
						t.Errorf("id %d: mark %d", id, v)
					}
				case AttrCT:
					ad.Nested(func(nad *netlink.AttributeDecoder) error {
						nad.ByteOrder = binary.BigEndian
						for want := uint32(6); nad.Next(); want++ {
							if v := nad.Uint32(); v != want {
								t.Errorf("id %d: ct attribute %d is %d", id, nad.Type(), v)
							}
						}
						return nil
					})
				case AttrPayload:
					if v := ad.Bytes(); len(v) != size {
						t.Errorf("id %d: payload of %d bytes", id, len(v))
					}
				}
			}
			if err := ad.Err(); err != nil {
				t.Errorf("id %d: %v", id, err)
			}
		}
	}
	if len(stream) != 0 {
		t.Errorf("%d bytes left", len(stream))
	}
}

func TestPad(t *testing.T) {
	for n, want := range []int{0, 3, 2, 1, 0, 3, 2, 1, 0} {
		if got := Pad(n); got != want {
			t.Errorf("Pad(%d) = %d, want %d", n, got, want)
		}
	}
	if got := Pad(MaxCopyRange); got != 1 {
		t.Errorf("Pad(%d) = %d, want 1", MaxCopyRange, got)
	}
}
