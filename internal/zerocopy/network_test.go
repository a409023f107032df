package zerocopy

import (
	"bytes"
	"slices"
	"testing"
)

func TestNetwork(t *testing.T) {
	v4, v6 := sized(ipv4(protoUDP, 0, nil, l4(1, 2))), sized(ipv6(protoUDP, l4(1, 2)))
	tags := func(inner uint16, b []byte) []byte { return slices.Concat(be16(0x2064), be16(inner), b) }
	pppoe := func(length int, b ...byte) []byte {
		return slices.Concat([]byte{0x11, 0, 0, 9}, be16(uint16(length)), b)
	}
	session := func(proto uint16, b []byte) []byte {
		return pppoe(2+len(b), slices.Concat(be16(proto), b)...)
	}
	trailer := []byte("trailer")
	for _, tt := range []struct {
		name      string
		etherType uint16
		payload   []byte
		want      []byte // nil: no IP packet
	}{
		{"IPv4", 0x0800, v4, v4},
		{"IPv6", 0x86dd, v6, v6},
		{"IPv4, padded", 0x0800, slices.Concat(v4, trailer), slices.Concat(v4, trailer)},
		{"ARP", 0x0806, v4, nil},
		{"of no known type", 0, v4, nil},
		{"IPv6 by the name of IPv4", 0x0800, v6, nil},
		{"IPv4 by the name of IPv6", 0x86dd, slices.Concat(v4, make([]byte, 40)), nil},
		{"IPv4, cut", 0x0800, v4[:19], nil},
		{"IPv6, cut", 0x86dd, v6[:39], nil},
		{"nothing", 0x0800, nil, nil},

		{"a tag", 0x8100, tags(0x0800, v4), v4},
		{"a service tag", 0x88a8, tags(0x86dd, v6), v6},
		{"three tags", 0x88a8, tags(0x88a8, tags(0x8100, tags(0x0800, v4))), v4},
		{"a tag before ARP", 0x8100, tags(0x0806, v4), nil},
		{"a tag before another version", 0x8100, tags(0x86dd, slices.Concat(v4, make([]byte, 40))), nil},
		{"a tag of no standard", 0x9100, tags(0x0800, v4), nil},
		{"a tag, cut", 0x8100, tags(0x0800, v4)[:3], nil},
		{"a tag and nothing", 0x8100, tags(0x0800, nil), nil},
		{"tags and nothing", 0x8100, slices.Repeat(tags(0x8100, nil), 300), nil},
		{"IEEE 802.3 behind a tag", 0x8100, tags(uint16(len(v4)), v4), nil},

		{"PPPoE, IPv4", 0x8864, session(0x0021, v4), v4},
		{"PPPoE, IPv6", 0x8864, session(0x0057, v6), v6},
		{"PPPoE behind tags", 0x88a8, tags(0x8100, tags(0x8864, session(0x0021, v4))), v4},
		{"PPPoE, padded", 0x8864, slices.Concat(session(0x0021, v4), trailer), v4},
		{"PPPoE, cut", 0x8864, session(0x0021, v4)[:40], v4[:32]},
		{"PPPoE, its protocol in a byte", 0x8864, pppoe(1+len(v6), append([]byte{0x57}, v6...)...), v6},
		{"PPPoE of another version and code", 0x8864, slices.Concat([]byte{0x21, 7}, session(0x0021, v4)[2:]), v4},
		{"PPPoE, another version of IP", 0x8864, session(0x0021, v6), nil},
		{"PPPoE, IP longer than its length", 0x8864, pppoe(2+19, session(0x0021, v4)[6:]...), nil},
		{"PPPoE, link control", 0x8864, session(0xc021, v4), nil},
		{"PPPoE, compressed", 0x8864, session(0x00fd, v4), nil},
		{"PPPoE, no protocol", 0x8864, pppoe(0), nil},
		{"PPPoE, half a protocol", 0x8864, pppoe(1, 0), nil},
		{"PPPoE, length 1", 0x8864, pppoe(1, session(0x0021, v4)[6:]...), nil},
		{"PPPoE, header cut", 0x8864, session(0x0021, v4)[:5], nil},
		{"PPPoE discovery", 0x8863, session(0x0021, v4), nil},
	} {
		off, end, ok := Network(tt.etherType, tt.payload)
		// Whoever goes by Plain sees what Network finds, and nothing else.
		plain := Plain(tt.etherType, tt.payload) && version(tt.payload) != 0
		if plain != (ok && off == 0) {
			t.Errorf("%s: plain %v; found %v, at %d", tt.name, plain, ok, off)
		}
		if ok != (tt.want != nil) || ok && !bytes.Equal(tt.payload[off:end], tt.want) {
			t.Errorf("%s: %v, %d to %d of %x\nwant %x", tt.name, ok, off, end, tt.payload, tt.want)
		}
	}
}
