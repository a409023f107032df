package stream

import (
	"bytes"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
)

// A segment is what the Engine looks at of a packet.
type segment struct {
	key    key
	hash   uint64
	way    uint8 // which of the connection's it goes
	flags  uint8
	window uint16
	scale  scale
	seq    uint32
	ack    uint32
	data   []byte
	in     buffer // that data lies in; nil: it may not be kept

	changes       change
	header        int // where TCP's begins in the IP packet
	headerLen     int
	notTCP, mptcp bool
}

// A change to a segment makes all receivers understand it alike.
type change uint8

const (
	stripData   change = 1 << iota // of a segment with SYN: some take it, some do not
	clearMPTCP                     // or the bytes of a connection would come by several
	clearUrgent                    // or a byte would be taken out of the stream, or not
)

func (s *segment) has(flags uint8) bool { return s.flags&flags != 0 }

// opens reports whether the segment is to open a connection.
func (s *segment) opens() bool { return s.has(zerocopy.TCPSyn) && !s.has(zerocopy.TCPAck) }

// read reads a packet. Unless it is one of TCP that its receiver may take, it says why
// not, or sets notTCP.
func (s *segment) read(p *ipq.Packet, seed uint64) (why Cause, ok bool) {
	ip := p.IP()
	var k zerocopy.FlowKey
	if !k.Parse(ip) {
		switch e := p.EtherType(); {
		case e != etherIPv4 && e != etherIPv6:
			s.notTCP = true
			return 0, false
		case len(p.Payload()) == 0:
			return Truncated, false
		}
		return Unclear, false
	}
	switch {
	case k.Unknown && p.Truncated():
		return Truncated, false
	case k.Unknown:
		return Unclear, false
	case k.Proto != protoTCP:
		s.notTCP = true
		return 0, false
	case k.Fragment:
		return Fragment, false
	case p.Truncated():
		return Truncated, false
	case zerocopy.Rerouted(ip):
		return Rerouted, false
	}
	var t zerocopy.TCP
	if !t.Parse(ip) || !s.setKey(&k) {
		return BadHeader, false
	}
	if !zerocopy.SumsRight(ip, trusted(p)) {
		return BadChecksum, false
	}
	s.hash = k.Hash(seed)
	s.flags, s.window, s.scale = t.Flags, t.Window, scale{t.Scale, t.HasScale}
	s.seq, s.ack, s.data = t.Seq, t.Ack, ip[t.Data:]
	s.header, s.headerLen, s.mptcp = t.Off, t.Data-t.Off, t.MPTCP
	if why, ok = s.check(); s.changes == 0 {
		s.in = p
	}
	return why, ok
}

const (
	protoTCP  = 6
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
)

// trusted reports whether the TCP checksum need not be looked at. It is not filled in
// yet in what comes from this host and in super-packets, or was looked at already,
// which the kernel says truly of packets that came in by a device.
func trusted(p *ipq.Packet) bool {
	return !p.ChecksumReady() || p.GSO() || p.ChecksumVerified() && p.Hook() <= ipq.Forward
}

// check looks at the flags, and at what has to be changed.
func (s *segment) check() (why Cause, ok bool) {
	const fin, syn, rst, ack = zerocopy.TCPFin, zerocopy.TCPSyn, zerocopy.TCPRst, zerocopy.TCPAck
	switch {
	case s.has(syn) && s.has(fin|rst),
		s.has(rst) && (s.has(fin) || len(s.data) > 0),
		!s.has(syn | rst | ack):
		return BadHeader, false
	}
	if s.has(syn) && len(s.data) > 0 {
		s.changes |= stripData
		s.data = nil
	}
	if s.mptcp {
		s.changes |= clearMPTCP
	}
	if s.has(zerocopy.TCPUrg) {
		s.changes |= clearUrgent
	}
	return 0, true
}

// setKey puts the two ends in their order. It reports false if they are one.
func (s *segment) setKey(k *zerocopy.FlowKey) bool {
	order := bytes.Compare(k.Src[:], k.Dst[:])
	if order == 0 {
		order = int(k.SrcPort) - int(k.DstPort)
	}
	s.key = key{a: k.Src, b: k.Dst, aPort: k.SrcPort, bPort: k.DstPort, version: k.Version}
	if order > 0 {
		s.way = 1
		s.key = key{a: k.Dst, b: k.Src, aPort: k.DstPort, bPort: k.SrcPort, version: k.Version}
	}
	return order != 0
}

// hash is that of the flow.
func (k *key) hash(seed uint64) uint64 {
	f := zerocopy.FlowKey{Src: k.a, Dst: k.b, SrcPort: k.aPort, DstPort: k.bPort, Proto: protoTCP, Version: k.version}
	return f.Hash(seed)
}

// apply makes the changes.
func (s *segment) apply(p *ipq.Packet) error {
	headerEnd := len(p.Payload()) - len(p.IP()) + s.header + s.headerLen
	if s.changes&stripData != 0 {
		if err := p.SetPayload(p.Payload()[:headerEnd]); err != nil {
			return err
		}
	}
	if s.changes&(clearMPTCP|clearUrgent) == 0 {
		return nil
	}
	b, err := p.EditPayload()
	if err != nil {
		return err
	}
	h := b[headerEnd-s.headerLen : headerEnd]
	if s.changes&clearMPTCP != 0 {
		zerocopy.ClearMPTCP(h)
	}
	if s.changes&clearUrgent != 0 {
		zerocopy.ClearUrgent(h)
	}
	return nil
}
