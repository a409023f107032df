package zerocopy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/mdlayher/netlink"
)

// describe prints all that a Message says.
func describe(m *Message) string {
	proto, tci, vlan := m.VLAN()
	sec, usec, ts := m.Timestamp()
	uid, hasUID := m.UID()
	gid, hasGID := m.GID()
	info, hasInfo := m.ConntrackInfo()
	return fmt.Sprintf("id=%v:%d queue=%d family=%d proto=%#x hook=%d mark=%#x prio=%#x class=%#x "+
		"dev=%d,%d phys=%d,%d hw=%x vlan=%v:%#x,%#x l2=%x time=%v:%d.%06d uid=%v:%d gid=%v:%d "+
		"secctx=%q ct=%d ctinfo=%v:%d caplen=%d skb=%d payload=%x@%d cut=%v",
		m.HasID(), m.ID(), m.Queue(), m.Family(), m.HWProtocol(), m.Hook(), m.Mark(), m.Priority(),
		m.CgroupClass(), m.InDev(), m.OutDev(), m.PhysInDev(), m.PhysOutDev(), m.HWAddr(),
		vlan, proto, tci, m.L2Header(), ts, sec, usec, hasUID, uid, hasGID, gid, m.SecCtx(),
		len(m.Conntrack()), hasInfo, info, m.CapLen(), m.SkbInfo(), m.Payload(), m.PayloadOffset(), m.Cut())
}

// The first three messages were recorded from Linux 6.18, the last two
// composed by hand from linux/netfilter/nfnetlink_queue.h.
func TestDecodeGolden(t *testing.T) {
	littleEndian(t)
	for _, tt := range []struct{ name, msg, want string }{{
		"IPv4, marked, on the input hook",
		`75000000 0003 0000 00000000 00000000  02 00 0102
		 0b00 0100 00000001 0800 01 00  0800 0500 00000001  0800 0300 00000055  0800 1500 00000006
		 1000 0900 0006 0000 0000000000000000  0800 0e00 00000001
		 2500 0a00 45000021782740004011c4a27f0000017f000001 9c4014e9000dfe20 676f697071`,
		"id=true:1 queue=258 family=2 proto=0x800 hook=1 mark=0x55 prio=0x6 class=0x0 " +
			"dev=1,0 phys=0,0 hw=000000000000 vlan=false:0x0,0x0 l2= time=false:0.000000 uid=false:0 gid=false:0 " +
			`secctx="" ct=0 ctinfo=false:0 caplen=0 skb=1 ` +
			"payload=45000021782740004011c4a27f0000017f0000019c4014e9000dfe20676f697071@84 cut=false",
	}, {
		"IPv6",
		`7b000000 0003 0000 00000000 00000000  0a 00 0102
		 0b00 0100 00000002 86dd 01 00  0800 0500 00000001  1000 0900 0006 0000 0000000000000000
		 0800 0e00 00000001
		 3b00 0a00 6002b66a000f1140 00000000000000000000000000000001 00000000000000000000000000000001
		 9c4114e9000f0022 7061796c6f6164`,
		"id=true:2 queue=258 family=10 proto=0x86dd hook=1 mark=0x0 prio=0x0 class=0x0 " +
			"dev=1,0 phys=0,0 hw=000000000000 vlan=false:0x0,0x0 l2= time=false:0.000000 uid=false:0 gid=false:0 " +
			`secctx="" ct=0 ctinfo=false:0 caplen=0 skb=1 ` +
			"payload=6002b66a000f11400000000000000000000000000000000100000000000000000000000000000001" +
			"9c4114e9000f00227061796c6f6164@68 cut=false",
	}, {
		"truncated by the copy range",
		`84000000 0003 0000 00000000 00000000  02 00 0102
		 0b00 0100 00000003 0800 01 00  0800 0500 00000001  0800 0300 00000055  0800 1500 00000006
		 1000 0900 0006 0000 0000000000000000  0800 0d00 00000058  0800 0e00 00000001
		 2c00 0a00 45000058563c40004011e6567f0000017f000001 9c4014e90044fe57 787878787878787878787878`,
		"id=true:3 queue=258 family=2 proto=0x800 hook=1 mark=0x55 prio=0x6 class=0x0 " +
			"dev=1,0 phys=0,0 hw=000000000000 vlan=false:0x0,0x0 l2= time=false:0.000000 uid=false:0 gid=false:0 " +
			`secctx="" ct=0 ctinfo=false:0 caplen=88 skb=1 ` +
			"payload=45000058563c40004011e6567f0000017f0000019c4014e90044fe57787878787878787878787878@92 cut=false",
	}, {
		"bridge, tagged, between two ports",
		`94000000 0003 0000 00000000 00000000  07 00 0005
		 0b00 0100 00000009 0800 02 00
		 0800 0500 00000004  0800 0700 00000002  0800 0600 00000004  0800 0800 00000003
		 1000 0900 0006 0000 020000000001 0000
		 1400 1380  0600 0200 2064 0000  0600 0100 8100 0000
		 1200 1400 020000000002 020000000001 0800 0000
		 1400 0400 000000006553f100 000000000001e240
		 0800 0a00 45000000`,
		"id=true:9 queue=5 family=7 proto=0x800 hook=2 mark=0x0 prio=0x0 class=0x0 " +
			"dev=4,4 phys=2,3 hw=020000000001 vlan=true:0x8100,0x2064 l2=0200000000020200000000010800 " +
			"time=true:1700000000.123456 uid=false:0 gid=false:0 " +
			`secctx="" ct=0 ctinfo=false:0 caplen=0 skb=0 payload=45000000@144 cut=false`,
	}, {
		"netdev family, without payload",
		`38000000 0003 0000 00000000 00000000  05 00 ffff
		 0b00 0100 ffffffff 0806 00 00  0800 0500 00000002  1000 0900 0006 0000 020000000001 0000`,
		"id=true:4294967295 queue=65535 family=5 proto=0x806 hook=0 mark=0x0 prio=0x0 class=0x0 " +
			"dev=2,0 phys=0,0 hw=020000000001 vlan=false:0x0,0x0 l2= time=false:0.000000 uid=false:0 gid=false:0 " +
			`secctx="" ct=0 ctinfo=false:0 caplen=0 skb=0 payload=@0 cut=false`,
	}} {
		t.Run(tt.name, func(t *testing.T) {
			var m Message
			if err := m.Decode(unhex(t, tt.msg)); err != nil {
				t.Fatal(err)
			}
			if got := describe(&m); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

const fullWant = "id=true:16909060 queue=258 family=10 proto=0x86dd hook=3 mark=0xdeadbeef prio=0x10006 class=0x100001 " +
	"dev=11,13 phys=12,14 hw=020000aabbcc vlan=true:0x88a8,0x6064 l2=020000000001020000aabbcc86dd " +
	"time=true:1700000000.123456 uid=true:1000 gid=true:100 " +
	`secctx="system_u:object_r:unlabeled_t:s0" ct=208 ctinfo=true:2 caplen=1400 skb=3 payload=60010203@460 cut=false`

func TestDecodeEveryAttribute(t *testing.T) {
	var m Message
	if err := m.Decode(fullMessage([]byte{0x60, 1, 2, 3})); err != nil {
		t.Fatal(err)
	}
	if got := describe(&m); got != fullWant {
		t.Errorf("got  %s\nwant %s", got, fullWant)
	}
}

// A Message is decoded into again and again: nothing of the last message may
// show in the next.
func TestDecodeReuse(t *testing.T) {
	var used, fresh Message
	if err := used.Decode(fullMessage([]byte{1, 2, 3})); err != nil {
		t.Fatal(err)
	}
	next := message(TypePacket, 2, 1, packetHdr(5, 0x0800, 0))
	if err := errors.Join(used.Decode(next), fresh.Decode(next)); err != nil {
		t.Fatal(err)
	}
	if got, want := describe(&used), describe(&fresh); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, bad := range [][]byte{nil, next[:19], message(TypeVerdict, 2, 1), {0: 9, 19: 0}} {
		if err := used.Decode(bad); err == nil {
			t.Fatalf("Decode(%x): no error", bad)
		}
		if used.HasID() || used.ID() != 0 || used.Payload() != nil {
			t.Errorf("Decode(%x) left %s", bad, describe(&used))
		}
	}
}

// Whatever the receive buffer cuts off, the id must survive: a packet without
// a verdict stays in the queue for ever.
func TestDecodeCutAnywhere(t *testing.T) {
	full := fullMessage([]byte{0x60, 1, 2, 3, 4, 5, 6})
	attrs := walk(t, full)
	pay := attrs[AttrPayload]
	for n := range len(full) {
		var m Message
		err := m.Decode(full[:n:n])
		_ = describe(&m)
		if wantID := n >= 28; m.HasID() != wantID || wantID && m.ID() != 0x01020304 {
			t.Fatalf("%d bytes: HasID %v, ID %#x", n, m.HasID(), m.ID())
		}
		if whole := n >= 31; whole != (err == nil) || !whole && err != ErrShort {
			t.Fatalf("%d bytes: error %v", n, err)
		}
		if n >= 20 && !m.Cut() {
			t.Fatalf("%d bytes: Cut is false", n)
		}
		for typ, a := range attrs {
			if whole := a.off+len(a.val) <= n; typ != AttrPayload && m.has(uint(typ)) != whole {
				t.Fatalf("%d bytes: attribute %d present: %v", n, typ, !whole)
			}
		}
		var want []byte
		if n >= pay.off {
			want = full[pay.off:n]
		}
		if got := m.Payload(); !bytes.Equal(got, want) || (got == nil) != (n < pay.off) {
			t.Fatalf("%d bytes: payload %x, want %x", n, got, want)
		}
	}
}

func TestDecodeFixedSizes(t *testing.T) {
	sizes := map[uint16]int{AttrMark: 4, AttrTimestamp: 16, AttrInDev: 4, AttrOutDev: 4,
		AttrPhysInDev: 4, AttrPhysOutDev: 4, AttrHWAddr: 12, AttrCTInfo: 4, AttrCapLen: 4,
		AttrSkbInfo: 4, AttrUID: 4, AttrGID: 4, AttrPriority: 4, AttrCgroupClassID: 4}
	for typ, size := range sizes {
		for n := 0; n <= size+5; n++ {
			msg := message(TypePacket, 2, 0, packetHdr(77, 0x0800, 1), nla(typ, make([]byte, n)),
				payload([]byte{0x45}))
			var m Message
			err := m.Decode(msg)
			_ = describe(&m)
			if want := n < size; want != (err == ErrAttr) || !want && err != nil {
				t.Errorf("attribute %d of %d bytes: error %v", typ, n, err)
			}
			if m.ID() != 77 {
				t.Errorf("attribute %d of %d bytes: id %d", typ, n, m.ID())
			}
		}
	}
}

func TestDecodeMalformed(t *testing.T) {
	hdr := packetHdr(77, 0x0800, 1)
	// lie returns attribute a with its nla_len set to n.
	lie := func(a []byte, n uint16) []byte {
		a = bytes.Clone(a)
		binary.NativeEndian.PutUint16(a, n)
		return a
	}
	for _, tt := range []struct {
		name string
		msg  []byte
		err  error
		id   bool
	}{
		{"no packet header", message(TypePacket, 2, 0, nla(AttrMark, be32(1))), ErrAttr, false},
		{"no attributes", message(TypePacket, 2, 0), ErrAttr, false},
		{"packet header of 6 bytes", message(TypePacket, 2, 0, nla(AttrPacketHdr, be32(77), be16(0))), ErrAttr, true},
		{"packet header of 4 bytes", message(TypePacket, 2, 0, nla(AttrPacketHdr, be32(77))), ErrAttr, true},
		{"packet header of 3 bytes", message(TypePacket, 2, 0, nla(AttrPacketHdr, []byte{0, 0, 0})), ErrAttr, false},
		{"packet header beyond the message", message(TypePacket, 2, 0, lie(hdr, 200)), ErrAttr, true},
		{"second packet header short", message(TypePacket, 2, 0, hdr, nla(AttrPacketHdr, be32(78))), ErrAttr, true},
		{"attribute of length 0", message(TypePacket, 2, 0, hdr, lie(nla(AttrMark, be32(1)), 0)), ErrAttr, true},
		{"attribute of length 3", message(TypePacket, 2, 0, hdr, lie(nla(AttrPayload), 3)), ErrAttr, true},
		{"unknown attribute of length 2", message(TypePacket, 2, 0, hdr, lie(nla(99), 2)), ErrAttr, true},
		{"attribute beyond the message", message(TypePacket, 2, 0, hdr, lie(nla(AttrMark, be32(1)), 9)), ErrAttr, true},
		{"payload beyond the message", message(TypePacket, 2, 0, hdr, lie(nla(AttrPayload, be32(1)), 65535)), ErrAttr, true},
		{"three stray bytes at the end", message(TypePacket, 2, 0, hdr, []byte{1, 2, 3}), nil, true},
		{"unknown attributes", message(TypePacket, 2, 0, nla(0, be32(1)), hdr, nla(23, be32(1)), nla(0x3fff)), nil, true},
		{"another type", message(TypeVerdict, 2, 0, hdr), ErrType, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m Message
			if err := m.Decode(tt.msg); err != tt.err {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if m.HasID() != tt.id || tt.id && m.ID() != 77 {
				t.Errorf("HasID %v, ID %d", m.HasID(), m.ID())
			}
			_ = describe(&m)
		})
	}
}

// An attribute that ends beyond nlmsg_len is broken, not cut.
func TestDecodeCutMalformed(t *testing.T) {
	msg := fullMessage(make([]byte, 64))
	msg = msg[:len(msg)-8]
	binary.NativeEndian.PutUint16(msg[460-AttrHeaderLen:], AttrHeaderLen+65)
	var m Message
	if err := m.Decode(msg); err != ErrAttr || !m.HasID() || m.Payload() != nil {
		t.Errorf("error %v, HasID %v, payload %x", err, m.HasID(), m.Payload())
	}
}

// Bytes behind nlmsg_len belong to something else.
func TestDecodeStopsAtLength(t *testing.T) {
	msg := append(message(TypePacket, 2, 0, packetHdr(1, 0x0800, 0)), nla(AttrMark, be32(5))...)
	var m Message
	if err := m.Decode(msg); err != nil || m.Mark() != 0 || m.Cut() {
		t.Errorf("error %v, mark %d, cut %v", err, m.Mark(), m.Cut())
	}
}

func TestHWAddrClamped(t *testing.T) {
	for n, want := range map[uint16]int{0: 0, 6: 6, 8: 8, 9: 8, 0xffff: 8} {
		var m Message
		if err := m.Decode(message(TypePacket, 2, 0, packetHdr(1, 0, 0), hwAddr(n, 1, 2, 3))); err != nil {
			t.Fatal(err)
		}
		if got := m.HWAddr(); len(got) != want || cap(got) != want {
			t.Errorf("hw_addrlen %d: %d bytes, capacity %d, want %d", n, len(got), cap(got), want)
		}
	}
}

func TestVLANIncomplete(t *testing.T) {
	tci, proto := nla(attrVLANTCI, be16(1)), nla(attrVLANProto, be16(0x8100))
	for name, nest := range map[string][]byte{
		"empty": nil, "no proto": tci, "no tci": proto, "short tci": append(nla(attrVLANTCI, []byte{1}), proto...),
		"torn": append(tci[:8:8], proto[:5]...),
	} {
		var m Message
		if err := m.Decode(message(TypePacket, 7, 0, packetHdr(1, 0, 0), nla(AttrVLAN, nest))); err != nil {
			t.Fatal(err)
		}
		if p, v, ok := m.VLAN(); ok || p != 0 || v != 0 {
			t.Errorf("%s: %#x, %#x, %v", name, p, v, ok)
		}
	}
}

// Appending to a returned slice must not write into the message.
func TestSlicesAreCapped(t *testing.T) {
	var m Message
	msg := append(fullMessage([]byte{1, 2, 3}), 0xff, 0xff, 0xff, 0xff)
	before := bytes.Clone(msg)
	if err := m.Decode(msg); err != nil {
		t.Fatal(err)
	}
	for _, s := range [][]byte{m.Payload(), m.HWAddr(), m.L2Header(), m.SecCtx(), m.Conntrack()} {
		_ = append(s, 0xee)
	}
	if !bytes.Equal(msg[:len(before)], before) {
		t.Error("append wrote into the message")
	}
}

// An independent decoder must read the same out of the same bytes.
func TestDecodeAgreesWithNetlink(t *testing.T) {
	msg := append(fullMessage([]byte{0x60, 1, 2, 3}), 0)[:464]
	var nm netlink.Message
	if err := nm.UnmarshalBinary(msg); err != nil {
		t.Fatal(err)
	}
	ad, err := netlink.NewAttributeDecoder(nm.Data[4:])
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	if err := m.Decode(msg); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for ad.Next() {
		seen++
		if got := m.value(uint(ad.Type())); !bytes.Equal(got, ad.Bytes()) {
			t.Errorf("attribute %d: %x, want %x", ad.Type(), got, ad.Bytes())
		}
	}
	if err := ad.Err(); err != nil || seen != 20 {
		t.Errorf("%d attributes, error %v", seen, err)
	}
}

func TestNextMessage(t *testing.T) {
	one := message(TypePacket, 2, 0, packetHdr(1, 0, 0), payload([]byte{1, 2, 3}))
	two := message(TypePacket, 2, 0, packetHdr(2, 0, 0))
	rest := append(append(bytes.Clone(one), 0), two...)
	for id := uint32(1); id <= 2; id++ {
		var h Header
		var msg []byte
		var ok bool
		if h, msg, rest, ok = NextMessage(rest); !ok || h.Type != TypePacket || int(h.Len) != len(msg) {
			t.Fatalf("message %d: %+v, %v", id, h, ok)
		}
		var m Message
		if err := m.Decode(msg); err != nil || m.ID() != id {
			t.Fatalf("message %d: id %d, error %v", id, m.ID(), err)
		}
	}
	if _, _, _, ok := NextMessage(rest); ok || len(rest) != 0 {
		t.Errorf("a third message in %x", rest)
	}
	if h, msg, rest, ok := NextMessage(one[:30]); !ok || len(msg) != 30 || rest != nil || int(h.Len) != len(one) {
		t.Errorf("cut: %+v, %d bytes, rest %x, %v", h, len(msg), rest, ok)
	}
	if _, _, _, ok := NextMessage([]byte{15: 0}); ok {
		t.Error("nlmsg_len 0 is a message")
	}
}
