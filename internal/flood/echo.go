package flood

import "encoding/binary"

const (
	icmpHeaderLen = 8
	udpHeaderLen  = 8
	sequenceLen   = 8
	timeLen       = 8
	echoLen       = icmpHeaderLen + sequenceLen // of a datagram, too

	sequenceBits = 48 // at ten million packets a second, 325 days
	maxSequence  = 1<<sequenceBits - 1

	icmpEchoRequest, icmpEchoReply     = 8, 0     // ICMP_ECHO, ICMP_ECHOREPLY
	icmpv6EchoRequest, icmpv6EchoReply = 128, 129 // ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY
)

// codec writes the echo requests of one run, from the ICMP header on, and
// recognises their replies. Of a datagram it writes what follows the UDP header.
type codec struct {
	ipv6, udp bool
	flows     uint64
	run       uint16   // marks the packets of this run
	lens      []int    // how long the packets are, in turn
	bases     []uint32 // for each of lens, the one's complement sum of the bytes that never change
}

func newCodec(cfg Config, run uint16) *codec {
	c := &codec{ipv6: cfg.IPv6, udp: cfg.UDP, flows: uint64(cfg.Flows), run: run}
	for _, size := range cfg.Sizes {
		n := size - cfg.headerLen()
		if c.udp {
			n -= udpHeaderLen
		}
		c.lens = append(c.lens, n)
	}
	c.bases = make([]uint32, len(c.lens))
	return c
}

// prepare writes into b, room for the longest packet, all that is the same in
// every one. The filling after the sequence number is not zero, so that a
// consumer that loses bytes changes the checksum.
func (c *codec) prepare(b []byte) {
	for i := range b {
		b[i] = byte(i)
	}
	if c.udp {
		return
	}
	clear(b[:echoLen])
	b[0] = icmpEchoRequest
	if c.ipv6 {
		b[0] = icmpv6EchoRequest
	}
	for i, n := range c.lens {
		c.bases[i] = sum(b[:n])
	}
}

// length is that of packet number seq.
func (c *codec) length(seq uint64) int { return c.lens[seq%uint64(len(c.lens))] }

// write completes a prepared b to packet number seq and returns its flow. The
// kernel writes the checksums of UDP and ICMPv6 itself; that of ICMP is ours.
func (c *codec) write(b []byte, seq uint64) (flow uint16) {
	turn := seq / c.flows
	flow = uint16(seq - turn*c.flows)
	word := uint64(c.run)<<sequenceBits | seq
	if c.udp {
		binary.BigEndian.PutUint64(b, word)
		return flow
	}
	binary.BigEndian.PutUint16(b[4:], flow)
	binary.BigEndian.PutUint16(b[6:], uint16(turn))
	binary.BigEndian.PutUint64(b[icmpHeaderLen:], word)
	if c.ipv6 {
		return flow
	}
	s := c.bases[seq%uint64(len(c.bases))] + uint32(flow) + uint32(uint16(turn)) +
		uint32(word>>48) + uint32(uint16(word>>32)) + uint32(uint16(word>>16)) + uint32(uint16(word))
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	binary.BigEndian.PutUint16(b[2:], ^uint16(s))
	return flow
}

// stamp writes when a datagram was due, on the clock that both sides read, behind
// its number.
func (c *codec) stamp(b []byte, due int64) { binary.BigEndian.PutUint64(b[sequenceLen:], uint64(due)) }

// parseStamp reads what stamp wrote, from the datagram's payload.
func parseStamp(b []byte) (due int64, ok bool) {
	if len(b) < sequenceLen+timeLen {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b[sequenceLen:])), true
}

// parse reads a packet as a raw socket delivers it: from the IP header on over
// IPv4, from the ICMPv6 header on over IPv6. ok is false for anything but a
// reply to a request of this run.
func (c *codec) parse(b []byte) (seq uint64, ok bool) {
	reply := byte(icmpv6EchoReply)
	if !c.ipv6 {
		reply = icmpEchoReply
		if len(b) == 0 {
			return 0, false
		}
		ihl := int(b[0]&0x0f) * 4
		if len(b) < ihl {
			return 0, false
		}
		b = b[ihl:]
	}
	if len(b) < echoLen || b[0] != reply {
		return 0, false
	}
	word := binary.BigEndian.Uint64(b[icmpHeaderLen:])
	seq = word & maxSequence
	return seq, uint16(word>>sequenceBits) == c.run &&
		uint64(binary.BigEndian.Uint16(b[4:])) == seq%c.flows
}

// sum adds up b as big-endian 16-bit words, folded to 16 bits.
func sum(b []byte) uint32 {
	var s uint32
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	s = s>>16 + s&0xffff
	return s>>16 + s&0xffff
}
