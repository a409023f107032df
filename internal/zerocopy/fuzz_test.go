package zerocopy

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/goipq/goipq/internal/oddip"
)

// within reports whether s is a part of b: writing to s must show in b.
func within(b, s []byte) bool {
	if cap(s) != len(s) {
		return false
	}
	for i := range s {
		s[i] ^= 0xff
		seen := false
		for j := range b {
			seen = seen || &b[j] == &s[i]
		}
		if s[i] ^= 0xff; !seen {
			return false
		}
	}
	return true
}

func FuzzDecode(f *testing.F) {
	full := fullMessage([]byte{0x45, 1, 2, 3, 4})
	f.Add(full, true)
	f.Add(full[:100], true)
	f.Add(full[:30], false)
	f.Add(typicalMessage(make([]byte, 64)), false)
	f.Add(message(TypePacket, 7, 0, packetHdr(1, 0, 0), packetHdr(2, 0, 0), nla(AttrVLAN, []byte{3, 0, 2, 0})), true)
	f.Fuzz(func(t *testing.T, b []byte, header bool) {
		if header && len(b) >= 6 { // get past the checks of length and type
			binary.NativeEndian.PutUint16(b[4:], TypePacket)
		}
		before := bytes.Clone(b)
		var m, again Message
		err := m.Decode(b)
		got := describe(&m)
		for _, s := range [][]byte{m.Payload(), m.HWAddr(), m.L2Header(), m.SecCtx(), m.Conntrack()} {
			if !within(b, s) {
				t.Fatalf("slice of %d bytes, capacity %d, is not a part of the message", len(s), cap(s))
			}
		}
		if p := m.Payload(); len(p) > 0 && &p[0] != &b[m.PayloadOffset()] {
			t.Error("PayloadOffset is not where Payload begins")
		}
		if err == nil && !m.HasID() {
			t.Error("decoded without an id")
		}
		if err != nil && err != ErrShort && err != ErrType && err != ErrAttr {
			t.Errorf("error %v", err)
		}
		_ = again.Decode(full)
		if err2 := again.Decode(b); err2 != err || describe(&again) != got {
			t.Errorf("decoded anew: %v, %s\nfirst: %v, %s", err2, describe(&again), err, got)
		}
		if !bytes.Equal(b, before) {
			t.Error("Decode changed the message")
		}
		// A shorter receive buffer must not lose an id that it still holds.
		if m.HasID() && m.off[AttrPacketHdr] == attrStart+AttrHeaderLen && len(b) > 28 {
			if _ = again.Decode(b[:28:28]); again.ID() != m.ID() {
				t.Errorf("cut: id %d, want %d", again.ID(), m.ID())
			}
		}
		for rest := b; ; {
			n := len(rest)
			var msg []byte
			var ok bool
			if _, msg, rest, ok = NextMessage(rest); !ok {
				break
			}
			if len(msg) < HeaderLen || len(msg)+len(rest) > n {
				t.Fatalf("message of %d and rest of %d out of %d bytes", len(msg), len(rest), n)
			}
		}
	})
}

func FuzzConntrack(f *testing.F) {
	f.Add(conntrackNest())
	f.Add(nla(ctaTupleOrig, nla(ctaTupleIP, nla(ctaIPv6Src, make([]byte, 16)))))
	f.Add(nla(ctaTupleReply, nla(ctaTupleProto, nla(ctaProtoICMPv6ID, be16(1))), nla(ctaTupleZone, be16(2))))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var c, again Conntrack
		err := c.Decode(b)
		_ = again.Decode(conntrackNest())
		if err2 := again.Decode(b); err2 != err || again != c {
			t.Errorf("decoded anew: %v, %+v\nfirst: %v, %+v", err2, again, err, c)
		}
		if err != nil && err != ErrAttr || !bytes.Equal(b, before) {
			t.Errorf("error %v", err)
		}
	})
}

func FuzzDecodeError(f *testing.F) {
	ack := make([]byte, 36)
	binary.NativeEndian.PutUint32(ack, 36)
	binary.NativeEndian.PutUint16(ack[4:], TypeError)
	f.Add(ack)
	f.Add(ack[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeError(b)
		if err != nil && e != (Error{}) {
			t.Errorf("error %v with %+v", err, e)
		}
		if err == nil && (len(b) < 36 || e.Errno > 1<<31) {
			t.Errorf("%+v of %d bytes", e, len(b))
		}
	})
}

func addPackets(f *testing.F) {
	f.Add(ipv4(protoTCP, 0, []byte{1, 1, 1, 0}, segment(protoTCP, 33)))
	f.Add(ipv4(protoUDP, 0x2000, nil, segment(protoUDP, 20)))
	f.Add(ipv4(protoICMP, 0, nil, icmpEcho(8, 1)))
	f.Add(sized(ipv4(protoICMP, 0, nil, make([]byte, 8)))) // an echo reply that is all zero
	f.Add(ipv6(protoUDP, segment(protoUDP, 21)))
	f.Add(ipv6(0, ext(43, 0), routing(44, 0, 1, v6Final), fragmentHdr(60, 0), ext(protoICMPv6, 1), icmpEcho(128, 1)))
	f.Add(ipv6(51, ext(135, 0), ext(43, 0), routing(protoTCP, 4, 1, v6Final, v6Dst), segment(protoTCP, 20)))
}

func FuzzFixPacket(f *testing.F) {
	addPackets(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		right := VerifyPacket(b)
		if !bytes.Equal(b, before) {
			t.Fatal("VerifyPacket changed the packet")
		}
		if err := FixPacket(b); err != nil {
			if err != ErrNotIP || right || !bytes.Equal(b, before) {
				t.Fatalf("error %v, VerifyPacket %v", err, right)
			}
			return
		}
		if !VerifyPacket(b) {
			t.Fatalf("VerifyPacket is false after FixPacket: %x", b)
		}
		fixed := bytes.Clone(b)
		if err := FixPacket(b); err != nil || !bytes.Equal(b, fixed) {
			t.Fatalf("not idempotent: error %v", err)
		}
		changed := 0
		for i := range b {
			if b[i] != before[i] {
				changed++
			}
		}
		if changed > 8 { // four fields of two bytes
			t.Fatalf("%d bytes changed", changed)
		}
	})
}

func FuzzFlow(f *testing.F) {
	addPackets(f)
	rng := rand.New(rand.NewPCG(11, 12))
	for i := range 64 {
		f.Add(oddip.New(rng, uint16(i)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		checkHashes(t, b)
		checkFlow(t, b)
		var k, short FlowKey
		if k.Parse(b) && (k.Fragment || k.Unknown) && (k.SrcPort != 0 || k.DstPort != 0) {
			t.Errorf("ports that cannot be known: %+v", k)
		}
		// A copy range cuts off what is known, and changes nothing else.
		for n := range b {
			switch {
			case !short.Parse(b[:n:n]) || short == k:
			case !short.Unknown:
				t.Errorf("%d bytes: %+v, whole: %+v", n, short, k)
			case short.SrcPort != 0 || short.DstPort != 0 || short.Src != k.Src || short.Dst != k.Dst:
				t.Errorf("%d bytes: %+v, whole: %+v", n, short, k)
			}
		}
		if !bytes.Equal(b, before) {
			t.Error("Parse changed the packet")
		}
	})
}

func FuzzNetwork(f *testing.F) {
	v4, v6 := sized(ipv4(protoUDP, 0, nil, l4(1, 2))), sized(ipv6(protoUDP, l4(1, 2)))
	f.Add(uint16(0x0800), v4)
	f.Add(uint16(0x88a8), slices.Concat([]byte{0, 1, 0x81, 0, 0, 2, 0x86, 0xdd}, v6))
	f.Add(uint16(0x8864), slices.Concat([]byte{0x11, 0, 0, 1, 0, byte(2 + len(v4)), 0, 0x21}, v4, v6))
	f.Fuzz(func(t *testing.T, etherType uint16, b []byte) {
		before := bytes.Clone(b)
		off, end, ok := Network(etherType, b)
		if off < 0 || end < off || end > len(b) {
			t.Fatalf("%d to %d of %d bytes", off, end, len(b))
		}
		if plain := Plain(etherType, b) && version(b) != 0; plain != (ok && off == 0) {
			t.Errorf("plain %v; found %v, at %d", plain, ok, off)
		}
		if ok && version(b[off:end]) == 0 {
			t.Errorf("no IP packet: %x", b[off:end])
		}
		if !bytes.Equal(b, before) {
			t.Error("Network changed the packet")
		}
	})
}
