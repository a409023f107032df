package ipq

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

// hexBytes reads hexadecimal digits, with spaces for the eye.
func hexBytes(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// edited has a handler edit one packet and returns what leaves.
func edited(t *testing.T, p fakekernel.Packet, cfg Config, edit func(p *Packet) error) (payload []byte, s Stats) {
	t.Helper()
	f := newFake(t)
	q, stop := f.serve(cfg, func(p *Packet) Verdict {
		if err := edit(p); err != nil {
			t.Error(err)
		}
		return Accept
	})
	v := f.verdict(f.queue(p))
	stop()
	return bytes.Clone(v.Payload()), q.Stats()
}

// xor changes one byte in place.
func xor(at int, mask byte) func(p *Packet) error {
	return func(p *Packet) error {
		b, err := p.EditPayload()
		if err == nil {
			b[at] ^= mask
		}
		return err
	}
}

// ack is a bare TCP segment with right checksums.
func ack(t testing.TB) []byte {
	b := hexBytes(t, "45000028 12344000 40060000 0a000001 0a000002 01bbc350 00000001 00000002 50100200 00000000")
	if err := zerocopy.FixPacket(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// What follows the datagram in its frame is no part of it, and stays behind it.
func TestTrailer(t *testing.T) {
	padding := []byte("\x00\x00\x01\x02\x03\x04")
	udp := udp4(7, []byte("text"))
	six := udp6(7, []byte("text"))
	for _, x := range []struct {
		name      string
		datagram  []byte
		etherType uint16
	}{{"bare ACK", ack(t), etherTypeIPv4}, {"UDP", udp, etherTypeIPv4}, {"IPv6", six, etherTypeIPv6}} {
		frame := append(bytes.Clone(x.datagram), padding...)
		packet := fakekernel.Packet{Payload: frame, Protocol: x.etherType, Hook: uint8(Forward)}
		look := func(p *Packet) {
			if !bytes.Equal(p.Payload(), x.datagram) || p.Len() != len(x.datagram) || !bytes.Equal(p.Trailer(), padding) {
				t.Errorf("%s: payload % x, length %d, trailer % x", x.name, p.Payload(), p.Len(), p.Trailer())
			}
			if tr := p.Transport(); !bytes.HasSuffix(x.datagram, tr) || len(tr) == 0 {
				t.Errorf("%s: transport % x", x.name, tr)
			}
		}
		dscp := 1
		got, _ := edited(t, packet, Config{Workers: Inline}, func(p *Packet) error { look(p); return xor(dscp, 0x10)(p) })
		want := bytes.Clone(frame)
		want[dscp] ^= 0x10
		if x.etherType == etherTypeIPv4 {
			if err := zerocopy.FixPacket(want[:len(x.datagram)]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s, edited in place:\n% x, want\n% x", x.name, got, want)
		}
		if x.name == "bare ACK" {
			continue
		}
		for _, size := range []int{0, 3, 4, 40, 400} {
			text := bytes.Repeat([]byte("+"), size)
			longer := udp4(7, text)
			if x.etherType == etherTypeIPv6 {
				longer = udp6(7, text)
			}
			got, _ := edited(t, packet, Config{Workers: Inline}, func(p *Packet) error {
				if err := p.SetPayload(longer); err != nil {
					return err
				}
				if !bytes.Equal(p.Payload(), longer) || !bytes.Equal(p.Trailer(), padding) {
					t.Errorf("%s, set: payload % x, trailer % x", x.name, p.Payload(), p.Trailer())
				}
				return nil
			})
			if want := append(bytes.Clone(longer), padding...); !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes set:\n% x, want\n% x", x.name, size, got, want)
			}
		}
	}
	// Of a packet that is cut off, the header tells where the datagram ends.
	_, _ = edited(t, fakekernel.Packet{Payload: ack(t), CapLen: 46}, Config{Workers: Inline}, func(p *Packet) error {
		if p.Len() != 40 {
			t.Errorf("length %d of a truncated packet, want 40", p.Len())
		}
		return nil
	})
}

// Behind VLAN tags and in PPPoE sessions checksums and lengths are kept, too.
func TestEditsBehindTags(t *testing.T) {
	udp := udp4(7, []byte("text"))
	longer := udp4(7, []byte("a longer text"))
	padding := []byte("\x00\x00\x01")
	for _, x := range []struct {
		name, head, longerHead string
		etherType              uint16
	}{
		{"VLAN", "0123 0800", "0123 0800", 0x8100},
		{"QinQ", "0123 8100 0456 0800", "0123 8100 0456 0800", 0x88a8},
		{"PPPoE", "1100 0001 0022 0021", "1100 0001 002b 0021", 0x8864},
		{"PPPoE in a VLAN", "0123 8864 1100 0001 0022 0021", "0123 8864 1100 0001 002b 0021", 0x8100},
	} {
		frame := slices.Concat(hexBytes(t, x.head), udp, padding)
		packet := fakekernel.Packet{Payload: frame, Protocol: x.etherType, Hook: uint8(Forward)}
		ip := len(frame) - len(udp) - len(padding)
		want := slices.Concat(hexBytes(t, x.head), udp4(7, []byte("teXt")), padding)
		if got, _ := edited(t, packet, Config{Workers: Inline}, xor(ip+30, 0x20)); !bytes.Equal(got, want) {
			t.Errorf("%s, in place:\n% x, want\n% x", x.name, got, want)
		}
		want = slices.Concat(hexBytes(t, x.longerHead), longer, padding)
		if got, _ := edited(t, packet, Config{Workers: Inline}, func(p *Packet) error {
			return p.SetPayload(slices.Concat(p.Payload()[:ip], longer))
		}); !bytes.Equal(got, want) {
			t.Errorf("%s, set:\n% x, want\n% x", x.name, got, want)
		}
	}
}

// Lengths and checksums that the handler did not touch stay what they were:
// right, wrong, or none.
func TestEditsChangeNothingElse(t *testing.T) {
	wrong := udp4(7, []byte("text"))
	wrong[27] ^= 1
	none := udp4(7, []byte("text"))
	none[26], none[27] = 0, 0
	for _, x := range []struct {
		name   string
		packet []byte
		at     int
		keeps  []int // offsets of 16-bit fields
		right  bool  // VerifyPacket of what leaves
	}{
		{"right", udp4(7, []byte("text")), 8, []int{26}, true},
		{"wrong, and the TTL changed", wrong, 8, []int{26}, false},
		{"wrong, and the data changed", wrong, 28, nil, false},
		{"none, and the data changed", none, 28, []int{26}, true},
		{"a UDP length shorter than the payload", hexBytes(t,
			"45000027 00010000 40117cc3 7f000001 7f000001 04572328 000d9680 68656c6c6f 000000030300"), 8, []int{24, 26}, true},
	} {
		got, s := edited(t, fakekernel.Packet{Payload: x.packet, Hook: uint8(Forward)}, Config{Workers: Inline}, xor(x.at, 0x04))
		if len(got) != len(x.packet) || got[x.at] != x.packet[x.at]^0x04 || s.Modified != 1 {
			t.Fatalf("%s: % x of % x, %d modified", x.name, got, x.packet, s.Modified)
		}
		for _, at := range x.keeps {
			if !bytes.Equal(got[at:at+2], x.packet[at:at+2]) {
				t.Errorf("%s: bytes %d and %d became % x, from % x", x.name, at, at+1, got[at:at+2], x.packet[at:at+2])
			}
		}
		if binary.BigEndian.Uint16(got[2:]) != uint16(len(x.packet)) {
			t.Errorf("%s: total length %d", x.name, binary.BigEndian.Uint16(got[2:]))
		}
		if right := zerocopy.VerifyPacket(got); right != x.right {
			t.Errorf("%s: right: %v, want %v: % x", x.name, right, x.right, got)
		}
		if zerocopy.Checksum(got[:20]) != 0 {
			t.Errorf("%s: the IPv4 header is wrong", x.name)
		}
	}
	// Nor does an edit that changes nothing.
	for _, b := range [][]byte{wrong, none} {
		if got, _ := edited(t, fakekernel.Packet{Payload: b}, Config{Workers: Inline}, xor(28, 0)); !bytes.Equal(got, b) {
			t.Errorf("% x became % x", b, got)
		}
		if got, _ := edited(t, fakekernel.Packet{Payload: b}, Config{Workers: Inline}, func(p *Packet) error {
			return p.SetPayload(bytes.Clone(p.Payload()))
		}); !bytes.Equal(got, b) {
			t.Errorf("% x became % x", b, got)
		}
	}
	// What the handler makes a trailer of is in no sum any more.
	got, _ := edited(t, fakekernel.Packet{Payload: udp4(7, []byte("text and more"))}, Config{Workers: Inline}, func(p *Packet) error {
		b, err := p.EditPayload()
		b[3], b[25] = 32, 12 // the total length, and UDP's
		return err
	})
	if want := udp4(7, []byte("text")); !bytes.Equal(got[:32], want) || string(got[32:]) != " and more" {
		t.Errorf("made shorter in place: % x, want % x in front", got, want)
	}
	// A checksum that the handler writes is the handler's.
	got, _ = edited(t, fakekernel.Packet{Payload: wrong}, Config{Workers: Inline}, func(p *Packet) error {
		b, err := p.EditPayload()
		b[26], b[27] = 0xab, 0xcd
		b[28]++
		return err
	})
	if !bytes.Equal(got[26:28], []byte{0xab, 0xcd}) {
		t.Errorf("the checksum became % x", got[26:28])
	}
}

// pending is a packet as Linux queues it while its checksum is left to the
// device: the sum of the pseudo-header stands in its place.
func pending(t testing.TB, b []byte) []byte {
	t.Helper()
	b = bytes.Clone(b)
	seg := b[20:]
	at := map[byte]int{protoTCP: 16, protoUDP: 6}[b[9]]
	var s uint32
	for i := 12; i < 20; i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	s += uint32(len(seg)) + uint32(b[9])
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	binary.BigEndian.PutUint16(seg[at:], uint16(s))
	return b
}

// An edit finishes a checksum that was left to the device, or is refused.
func TestPendingChecksums(t *testing.T) {
	notReady := uint32(zerocopy.SkbCsumNotReady)
	tcp := append(ack(t), "some data in a segment"...)
	if err := zerocopy.FixPacket(tcp); err != nil {
		t.Fatal(err)
	}
	sctp := hexBytes(t, "45000028 00000000 40840000 0a000001 0a000002 03e807d0 00000001 00000000 00030014 00000001")
	if err := zerocopy.FixPacket(sctp); err != nil {
		t.Fatal(err)
	}
	unfinished := bytes.Clone(sctp)
	clear(unfinished[28:32])
	for _, x := range []struct {
		name          string
		packet, right []byte
		info          uint32
	}{
		{"TCP", pending(t, tcp), tcp, notReady},
		{"a TCP super-packet", pending(t, tcp), tcp, notReady | zerocopy.SkbGSO},
		{"UDP", pending(t, udp4(7, []byte("text"))), udp4(7, []byte("text")), notReady},
		{"SCTP", unfinished, sctp, notReady},
	} {
		last := len(x.packet) - 1
		for _, mask := range []byte{0, 0x5a} {
			want := bytes.Clone(x.right)
			want[last] ^= mask
			if err := zerocopy.FixPacket(want); err != nil {
				t.Fatal(err)
			}
			got, _ := edited(t, fakekernel.Packet{Payload: x.packet, SkbInfo: x.info}, Config{Workers: Inline, GSO: true}, xor(last, mask))
			if !bytes.Equal(got, want) {
				t.Errorf("%s: % x, want % x", x.name, got, want)
			}
			got, _ = edited(t, fakekernel.Packet{Payload: x.packet, SkbInfo: x.info}, Config{Workers: Inline, GSO: true}, func(p *Packet) error {
				b := bytes.Clone(p.Payload())
				b[last] ^= mask
				return p.SetPayload(b)
			})
			if !bytes.Equal(got, want) {
				t.Errorf("%s, set: % x, want % x", x.name, got, want)
			}
		}
	}

	// Packets that have the pending checksum inside: all of it is as it was.
	vxlan := udp4(4789, append(hexBytes(t, "08000000 00002a00 020000000001 020000000002 0800"), pending(t, tcp)...))
	ipip := bytes.Clone(udp4(1, pending(t, tcp)))
	ipip[9] = 4
	gre := bytes.Clone(ipip)
	gre[9] = 47
	noSum := bytes.Clone(vxlan)
	noSum[26], noSum[27] = 0, 0
	for name, b := range map[string][]byte{"VXLAN": vxlan, "VXLAN without a checksum": noSum, "IPIP": ipip, "GRE": gre} {
		for _, info := range []uint32{notReady, notReady | zerocopy.SkbGSO} {
			want := ErrChecksumPending
			if info&zerocopy.SkbGSO != 0 {
				want = ErrGSO
			}
			got, s := edited(t, fakekernel.Packet{Payload: b, SkbInfo: info}, Config{Workers: Inline, GSO: true}, func(p *Packet) error {
				if _, err := p.EditPayload(); !errors.Is(err, want) {
					t.Errorf("%s: EditPayload: %v, want %v", name, err, want)
				}
				if err := p.SetPayload(bytes.Clone(p.Payload())); !errors.Is(err, want) {
					t.Errorf("%s: SetPayload: %v, want %v", name, err, want)
				}
				return nil
			})
			if got != nil || s.Modified != 0 {
				t.Errorf("%s: changed after all", name)
			}
		}
	}
}

// What the kernel or every receiver would throw away is refused, with the
// reason.
func TestUndeliverablePayloads(t *testing.T) {
	plain := udp4(7, []byte("text"))
	options := hexBytes(t, "47000028 00000000 40110000 c0000201 c0000202 01010101 01010100 00070007 000c0000 74657874")
	six := udp6(7, []byte("text"))
	hopByHop := append(append(bytes.Clone(six[:40]), protoUDP, 0, 1, 4, 0, 0, 0, 0), six[40:]...)
	hopByHop[6], hopByHop[5] = 0, hopByHop[5]+8
	const allHooks = 1<<Prerouting | 1<<Input | 1<<Forward | 1<<Output | 1<<Postrouting
	const early, sent = 1<<Prerouting | 1<<Input, 1<<Output | 1<<Postrouting
	cut := func(b []byte, n int) []byte { return b[:n] }
	for _, x := range []struct {
		name    string
		was, is []byte
		refused uint // hooks
	}{
		{"as it was", plain, plain, 0},
		{"another version", plain, six, allHooks},
		{"and the other way", six, plain, allHooks},
		{"options added", plain, options, early},
		{"options stripped", options, plain, early | 1<<Forward},
		{"options changed", options, append(append(bytes.Clone(options[:20]), 1, 1, 1, 1, 1, 1, 1, 1), options[28:]...), 0},
		{"hop-by-hop options added", six, hopByHop, early},
		{"hop-by-hop options stripped", hopByHop, six, early | 1<<Forward},
		{"within the UDP header", plain, cut(plain, 27), allHooks},
		{"within the TCP header", ack(t), cut(ack(t), 39), allHooks},
		{"within the options", options, cut(options, 24), 0}, // no IP header, so ErrNotIP
		{"shorter than the old header", options, cut(plain, 26), allHooks},
		{"within extension headers", hopByHop, cut(hopByHop, 44), allHooks},
	} {
		for hook := Prerouting; hook <= Postrouting; hook++ {
			etherType := uint16(etherTypeIPv4)
			if x.was[0]>>4 == 6 {
				etherType = etherTypeIPv6
			}
			var err error
			got, _ := edited(t, fakekernel.Packet{Payload: x.was, Hook: uint8(hook), Protocol: etherType}, Config{Workers: Inline}, func(p *Packet) error {
				err = p.SetPayload(x.is)
				return nil
			})
			switch refused := x.refused>>hook&1 != 0; {
			case x.name == "within the options":
				if !errors.Is(err, ErrNotIP) || got != nil {
					t.Errorf("%s, %v: %v", x.name, hook, err)
				}
			case refused && (!errors.Is(err, ErrUndeliverable) || got != nil):
				t.Errorf("%s, %v: %v, want ErrUndeliverable", x.name, hook, err)
			case !refused && (err != nil || len(got) != len(x.is)):
				t.Errorf("%s, %v: %v", x.name, hook, err)
			}
		}
	}
	// In place nobody can be told, so the packet is dropped.
	for _, edit := range []func(p *Packet) error{xor(0, 0x03), xor(0, 0x20)} {
		f := newFake(t)
		q, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict {
			if err := edit(p); err != nil {
				t.Error(err)
			}
			return Accept
		})
		v := f.verdict(f.queue(fakekernel.Packet{Payload: plain}))
		stop()
		if s := q.Stats(); v.Verdict != 0 || v.Payload() != nil || s.InvalidVerdicts != 1 || s.Dropped != 1 || s.Modified != 0 {
			t.Errorf("verdict %d, payload % x, stats %+v", v.Verdict, v.Payload(), s)
		}
	}
}

// A payload lives in one place: what was set is what is edited, however long it
// is, and in a deferred copy, too.
func TestEditAfterSet(t *testing.T) {
	long := udp4(7, bytes.Repeat([]byte("long"), 500))
	steps := func(p *Packet) error {
		if err := p.SetPayload(long); err != nil {
			return err
		}
		b, err := p.EditPayload()
		if err != nil {
			return err
		}
		if len(b) != len(long) {
			t.Errorf("%d bytes to edit, want %d", len(b), len(long))
		}
		copy(b[28:], "EDIT")
		if err := p.SetPayload(b[:len(b)-100]); err != nil {
			return err
		}
		b, err = p.EditPayload()
		copy(b[32:], "AGAIN")
		return err
	}
	want := udp4(7, append([]byte("EDITAGAIN"), bytes.Repeat([]byte("long"), 500)[9:1900]...))
	if got, _ := edited(t, fakekernel.Packet{Payload: udp4(7, []byte("text"))}, Config{Workers: Inline}, steps); !bytes.Equal(got, want) {
		t.Errorf("got % x", head(got))
	}
	f := newFake(t)
	later := make(chan *Deferred, 1)
	_, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict {
		d, err := p.Defer()
		if err != nil {
			t.Error(err)
		}
		later <- d
		return Drop
	})
	id := f.queue(fakekernel.Packet{Payload: udp4(7, []byte("text"))})
	d := <-later
	if err := steps(d.Packet()); err != nil {
		t.Error(err)
	}
	if err := d.Verdict(Accept); err != nil {
		t.Error(err)
	}
	v := f.verdict(id)
	if got := v.Payload(); !bytes.Equal(got, want) {
		t.Errorf("deferred: got % x", head(got))
	}
	stop()
}
