package flood

import (
	"encoding/binary"
	"testing"
)

// replyTo turns a request as write leaves it into what a raw socket would
// deliver for its reply.
func replyTo(ipv6 bool, request []byte) []byte {
	if ipv6 {
		reply := append([]byte(nil), request...)
		reply[0] = icmpv6EchoReply
		return reply
	}
	reply := append(make([]byte, 24), request...) // 24: a header with an option
	reply[0] = 0x46
	reply[24] = icmpEchoReply
	return reply
}

func TestWriteAndParse(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		for _, length := range []int{echoLen, echoLen + 1, echoLen + 1357} {
			for _, seq := range []uint64{0, 6, 7, 1<<16 - 1, 1 << 20, 1<<32 + 5, maxSequence} {
				cfg := Config{IPv6: ipv6, Flows: 7}
				cfg.Sizes = []int{cfg.headerLen() + length}
				c := newCodec(cfg, 0xfffe)
				b := make([]byte, length)
				c.prepare(b)
				c.write(b, 12345) // what a slot held before must leave no trace
				flow := c.write(b, seq)
				if uint64(flow) != seq%7 || binary.BigEndian.Uint16(b[4:]) != flow {
					t.Errorf("request %d: flow %d, identifier %d", seq, flow, binary.BigEndian.Uint16(b[4:]))
				}
				if !ipv6 && sum(b) != 0xffff {
					t.Errorf("request %d of %d bytes: words add up to %#x, not to 0xffff", seq, length, sum(b))
				}
				if got, ok := c.parse(replyTo(ipv6, b)); !ok || got != seq {
					t.Errorf("reply to %d: parsed %d, %v", seq, got, ok)
				}
			}
		}
	}
}

func TestParseRejects(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		cfg := Config{IPv6: ipv6, Flows: 4}
		cfg.Sizes = []int{cfg.headerLen() + echoLen}
		c := newCodec(cfg, 77)
		request := make([]byte, echoLen)
		c.prepare(request)
		c.write(request, 9)
		reply := replyTo(ipv6, request)
		icmp := len(reply) - echoLen

		changed := func(offset int) []byte {
			b := append([]byte(nil), reply...)
			b[icmp+offset] ^= 1
			return b
		}
		for name, b := range map[string][]byte{
			"nothing":         nil,
			"another type":    changed(0),
			"another flow":    changed(5),
			"another run":     changed(9),
			"its sequence":    changed(15),
			"without payload": reply[:len(reply)-1],
			"an IP header":    reply[:icmp],
			"one byte":        reply[:1],
		} {
			if seq, ok := c.parse(b); ok {
				t.Errorf("IPv6 %v, %s: parsed as a reply to %d", ipv6, name, seq)
			}
		}
	}
}
