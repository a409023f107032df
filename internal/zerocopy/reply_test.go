package zerocopy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// tcpSegment returns a TCP segment with right checksums, from port 1000 to port 80.
func tcpSegment(t *testing.T, ipv6 bool, flags uint8, seq, ack uint32, options, data string) []byte {
	t.Helper()
	head := "4500 0000 0000 4000 4006 0000 c0000201 c0000202"
	if ipv6 {
		head = "60000000 0000 06 40 20010db8 00000000 00000000 00000001 20010db8 00000000 00000000 00000002"
	}
	b := unhex(t, head+" 03e8 0050 00000000 00000000 5000 0103 0000 0000")
	h := b[len(b)-tcpHeaderLen:]
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[8:], ack)
	h[12], h[13] = byte(5+len(options)/4)<<4, flags
	b = append(append(b, options...), data...)
	if err := FixPacket(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// The numbers of RST follow RFC 9293, section 3.10.7.1, to the sender; to the receiver
// they are the segment's own.
func TestPutReset(t *testing.T) {
	const options = "\x01\x01\x01\x00"
	for _, x := range []struct {
		name     string
		flags    uint8
		seq, ack uint32
		data     string

		toSender, toReceiver [2]uint32 // sequence number, acknowledgement
		acks                 [2]bool
	}{
		{"SYN", TCPSyn, 100, 0, "", [2]uint32{0, 101}, [2]uint32{100, 0}, [2]bool{true, false}},
		{"SYN with data", TCPSyn, 100, 0, "text", [2]uint32{0, 105}, [2]uint32{100, 0}, [2]bool{true, false}},
		{"SYN, ACK", TCPSyn | TCPAck, 100, 200, "", [2]uint32{200, 0}, [2]uint32{100, 200}, [2]bool{false, true}},
		{"data", TCPAck | 8, 100, 200, "text", [2]uint32{200, 0}, [2]uint32{100, 200}, [2]bool{false, true}},
		{"FIN without ACK", TCPFin, 0xffff_ffff, 7, "xy", [2]uint32{0, 2}, [2]uint32{0xffff_ffff, 0}, [2]bool{true, false}},
		{"nothing", 0, 5, 7, "", [2]uint32{0, 5}, [2]uint32{5, 0}, [2]bool{true, false}},
	} {
		for _, ipv6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/ipv6=%v", x.name, ipv6), func(t *testing.T) {
				ip := tcpSegment(t, ipv6, x.flags, x.seq, x.ack, options, x.data)
				var was FlowKey
				was.Parse(ip)
				for i, want := range [][2]uint32{x.toSender, x.toReceiver} {
					b := bytes.Repeat([]byte{0xee}, MaxReset)
					// The payload may be cut off.
					b = b[:PutReset(b, ip[:len(ip)-len(x.data)], len(ip), i == 0)]
					if !VerifyPacket(b) {
						t.Errorf("lengths or checksums are wrong: %x", b)
					}
					h := Transport(b)
					flags := byte(TCPRst)
					if x.acks[i] {
						flags |= TCPAck
					}
					seq, ack := binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
					if seq != want[0] || ack != want[1] || h[13] != flags || len(h) != tcpHeaderLen {
						t.Errorf("answer %d: %d, %d, flags %#x; want %d, flags %#x", i, seq, ack, h[13], want, flags)
					}
					var is FlowKey
					is.Parse(b)
					want := was
					if i == 0 {
						want.Src, want.Dst, want.SrcPort, want.DstPort = was.Dst, was.Src, was.DstPort, was.SrcPort
					}
					if is != want {
						t.Errorf("answer %d is of %+v, want %+v", i, is, want)
					}
				}
			})
		}
	}
	syn := tcpSegment(t, false, TCPSyn, 1, 0, "", "")
	udp := bytes.Clone(syn)
	udp[9] = protoUDP
	fragment := bytes.Clone(syn)
	fragment[6] = 0x20
	for name, ip := range map[string][]byte{"UDP": udp, "fragment": fragment, "cut": syn[:39], "nothing": nil} {
		if n := PutReset(make([]byte, MaxReset), ip, len(ip), true); n != 0 {
			t.Errorf("%s: %d bytes", name, n)
		}
	}
}

// What is prohibited is quoted, as far as every host can take it.
func TestPutProhibited(t *testing.T) {
	for _, size := range []int{28, 100, 547, 548, 549, 1500} {
		ip := make([]byte, size)
		ip[0], ip[9], ip[12], ip[16] = 0x45, protoUDP, 10, 11
		for i := 20; i < size; i++ {
			ip[i] = byte(i)
		}
		if err := FixPacket(ip); err != nil {
			t.Fatal(err)
		}
		b := bytes.Repeat([]byte{0xee}, MaxProhibited4)
		b = b[:PutProhibited4(b, ip)]
		if want := min(28+size, MaxProhibited4); len(b) != want || !VerifyPacket(b) {
			t.Errorf("%d bytes for %d, want %d: % x", len(b), size, want, b)
		}
		if want := append([]byte{3, 13}, b[22:24]...); !bytes.Equal(b[20:28], append(want, 0, 0, 0, 0)) ||
			!bytes.Equal(b[28:], ip[:len(b)-28]) || !bytes.Equal(b[12:20], []byte{0, 0, 0, 0, 10, 0, 0, 0}) {
			t.Errorf("% x", b)
		}
	}
	for _, size := range []int{48, 1231, 1232, 1233, 1500} {
		ip := bytes.Repeat([]byte{0x60}, size)
		b := bytes.Repeat([]byte{0xee}, MaxProhibited6)
		b = b[:PutProhibited6(b, ip)]
		if want := min(8+size, MaxProhibited6); len(b) != want || !bytes.Equal(b[:8], []byte{1, 1, 0, 0, 0, 0, 0, 0}) || !bytes.Equal(b[8:], ip[:want-8]) {
			t.Errorf("%d bytes for %d, want %d: % x", len(b), size, want, b[:8])
		}
	}
}

func TestIsICMPError(t *testing.T) {
	for _, x := range []struct {
		proto uint8
		types []byte
		want  bool
	}{
		{protoICMP, []byte{3, 4, 5, 11, 12, 19, 200}, true},
		{protoICMP, []byte{0, 8, 13, 14, 17, 18}, false},
		{protoICMPv6, []byte{1, 2, 3, 4, 100, 127, 133, 135, 136, 137}, true},
		{protoICMPv6, []byte{128, 129, 130, 143}, false},
		{protoUDP, []byte{3}, false},
	} {
		for _, typ := range x.types {
			if got := IsICMPError(x.proto, []byte{typ, 0, 0, 0}); got != x.want {
				t.Errorf("protocol %d, type %d: %v", x.proto, typ, got)
			}
		}
	}
	if !IsICMPError(protoICMP, nil) {
		t.Error("a message without its type may be answered to")
	}
}

// Other addresses and ports leave right checksums right, and wrong ones wrong.
func TestSetEndpoints(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		ip := tcpSegment(t, ipv6, TCPSyn, 1, 0, "", "")
		src, dst := []byte{10, 0, 0, 1}, []byte{10, 0, 0, 2}
		if ipv6 {
			src, dst = bytes.Repeat(src, 4), bytes.Repeat(dst, 4)
		}
		broken := bytes.Clone(ip)
		broken[len(broken)-4] ^= 1 // of the checksum
		for _, b := range [][]byte{ip, broken} {
			right := VerifyPacket(b)
			SetEndpoints(b, src, dst, 5, 6, false)
			var k FlowKey
			k.Parse(b)
			if !bytes.HasPrefix(k.Src[:], src) || !bytes.HasPrefix(k.Dst[:], dst) || k.SrcPort != 5 || k.DstPort != 6 || VerifyPacket(b) != right {
				t.Errorf("%+v of % x, was right: %v", k, b, right)
			}
		}
		was := bytes.Clone(ip)
		if SetEndpoints(ip, src[:2], dst, 7, 8, false); !bytes.Equal(ip, was) {
			t.Error("addresses of another family were set")
		}
	}
}
