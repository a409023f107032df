package zerocopy

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
)

func TestConntrackTCP(t *testing.T) {
	var c Conntrack
	if err := c.Decode(conntrackNest()); err != nil {
		t.Fatal(err)
	}
	want := Conntrack{
		ID: 0xcafef00d, Status: 0x18e, Mark: 0x42, Timeout: 431999, Zone: 7,
		Labels: [16]byte{0: 1, 1: 0x80, 15: 0x40},
		Orig: Tuple{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("93.184.216.34"),
			SrcPort: 40000, DstPort: 443, Proto: 6},
		Reply: Tuple{Src: netip.MustParseAddr("93.184.216.34"), Dst: netip.MustParseAddr("192.0.2.1"),
			SrcPort: 443, DstPort: 50000, Proto: 6},
		ProtoState: 3,
	}
	if c != want {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// Byte for byte, so that the attribute numbers are those of
// linux/netfilter/nfnetlink_conntrack.h and not merely our own.
func TestConntrackTCPGolden(t *testing.T) {
	littleEndian(t)
	want := unhex(t, `
		3400 0180
		  1400 0180  0800 0100 0a000001  0800 0200 5db8d822
		  1c00 0280  0500 0100 06 000000  0600 0200 9c40 0000  0600 0300 01bb 0000
		3400 0280
		  1400 0180  0800 0100 5db8d822  0800 0200 c0000201
		  1c00 0280  0500 0100 06 000000  0600 0200 01bb 0000  0600 0300 c350 0000
		0600 1200 0007 0000
		0800 0c00 cafef00d
		0800 0300 0000018e
		0800 0700 0006977f
		2000 0480  1c00 0180  0500 0100 03 000000  0500 0200 07 000000  0500 0300 07 000000
		0c00 0580  0800 0100 66747000
		0800 0800 00000042
		1400 1600 01800000000000000000000000000040`)
	if got := conntrackNest(); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// An unconfirmed ICMPv6 echo, byte for byte: original tuple in a zone of its
// direction, id, status, in the order of ctnetlink's glue.
func TestConntrackICMPv6Golden(t *testing.T) {
	littleEndian(t)
	nest := unhex(t, `
		5c00 0180
		  2c00 0180  1400 0300 20010db8000000000000000000000001  1400 0400 20010db8000000000000000000000002
		  2400 0280  0500 0100 3a 000000  0600 0700 beef 0000  0500 0800 80 000000  0500 0900 00 000000
		  0600 0300 0009 0000
		0800 0c00 00000001
		0800 0300 00000100`)
	var c Conntrack
	if err := c.Decode(nest); err != nil {
		t.Fatal(err)
	}
	want := Conntrack{ID: 1, Status: 0x100, Orig: Tuple{
		Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("2001:db8::2"),
		Proto: 58, ICMPID: 0xbeef, ICMPType: 128, Zone: 9,
	}}
	if c != want {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// Decoding starts afresh, and an empty nest says nothing.
func TestConntrackReuse(t *testing.T) {
	var c Conntrack
	if err := c.Decode(conntrackNest()); err != nil {
		t.Fatal(err)
	}
	if err := c.Decode(nil); err != nil || c != (Conntrack{}) {
		t.Errorf("error %v, left %+v", err, c)
	}
}

func TestConntrackMalformed(t *testing.T) {
	nest := conntrackNest()
	for n := range len(nest) {
		var c Conntrack
		_ = c.Decode(nest[:n:n]) // must not panic
	}
	tuple := func(a ...[]byte) []byte { return nla(ctaTupleOrig, a...) }
	for name, nest := range map[string][]byte{
		"short mark":    nla(ctaMark, be16(1)),
		"short id":      nla(ctaID),
		"short status":  nla(ctaStatus, be16(1)),
		"short timeout": nla(ctaTimeout, be16(1)),
		"short zone":    nla(ctaZone, []byte{1}),
		"short labels":  nla(ctaLabels, make([]byte, 15)),
		"torn":          nla(ctaMark, be32(1))[:7],
		"torn tuple":    tuple(nla(ctaTupleIP, be32(1))[:7]),
		"short address": tuple(nla(ctaTupleIP, nla(ctaIPv6Src, be32(1)))),
		"short IPv4":    tuple(nla(ctaTupleIP, nla(ctaIPv4Dst, be16(1)))),
		"short port":    tuple(nla(ctaTupleProto, nla(ctaProtoSrcPort, []byte{1}))),
		"no number":     tuple(nla(ctaTupleProto, nla(ctaProtoNum))),
		"torn address":  tuple(nla(ctaTupleIP, nla(ctaIPv4Src, be32(1))[:4])),
		"short in tail": slices.Concat(conntrackNest(), nla(ctaMark, be16(1))),
	} {
		var c Conntrack
		if err := c.Decode(nest); err != ErrAttr {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Counters, the time and the state are there as far as the kernel sends them; what breaks
// off within is an error.
func TestConntrackCounts(t *testing.T) {
	counts := func(typ uint16, packets, bytes uint64) []byte {
		return nla(typ|nestedFlag, nla(1, be64(packets)), nla(2, be64(bytes)), nla(9, nil))
	}
	want := Conntrack{OrigCount: Count{1 << 40, 2 << 40}, ReplyCount: Count{3, 4}, Start: 5 << 50, ProtoState: 6}
	nest := slices.Concat(
		counts(9, 1<<40, 2<<40), counts(10, 3, 4),
		nla(20|nestedFlag, nla(1, be64(5<<50)), nla(2, be64(9))),
		nla(4|nestedFlag, nla(3|nestedFlag, nla(1, []byte{6}), nla(2, be32(7)))), // of SCTP
	)
	var c Conntrack
	if err := c.Decode(nest); err != nil || c != want {
		t.Errorf("%v\n got %+v\nwant %+v", err, c, want)
	}
	if n := testing.AllocsPerRun(10, func() { _ = c.Decode(nest) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for what, nest := range map[string][]byte{
		"packets":  nla(9|nestedFlag, nla(1, be32(1))),
		"bytes":    nla(10|nestedFlag, nla(2, be32(1))),
		"start":    nla(20|nestedFlag, nla(1, be32(1))),
		"state":    nla(4|nestedFlag, nla(1|nestedFlag, nla(1, nil))),
		"protocol": nla(4|nestedFlag, []byte{9, 0, 0, 0}),
	} {
		if err := c.Decode(nest); err != ErrAttr {
			t.Errorf("%s too short: %v", what, err)
		}
	}
}
