package stream

import (
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
)

// habits are what receivers differ in.
type habits struct {
	lastWins  bool // of overlapping segments the later one's bytes, not the earlier one's
	paws      bool // old timestamps are refused
	trims     bool // bytes beyond the window are thrown away, not taken with the rest
	anyReset  bool // RST within the window is taken, not only the one that is next
	synData   bool // data in SYN is read
	outOfBand bool // the urgent byte is taken out of the stream
	reopens   bool // a SYN opens another connection when this one is over
	readsEnd  bool // data behind FIN, of which standards say nothing, is read
}

// A host is one end of a connection as a kernel has it: a model of a receiver. Its
// peer may be hostile.
type host struct {
	habits
	send func(p packet)

	state          int
	isn, irs       uint32
	sndNxt, sndUna uint32
	rcvNxt, rcvWup uint32
	window, most   uint32 // its own, and the largest of its peer
	recent         uint32 // timestamp
	early          map[uint32]byte
	fin            uint32
	ends, ended    bool

	read []byte // by the application
	done []connection
	sent []byte // of its own data
}

// A connection is what an application has read of one.
type connection struct {
	isn, irs uint32
	read     []byte
}

const (
	listening = iota
	calling   // SYN sent
	answering // SYN received
	talking
	over
)

// A packet is a segment and what the engine does not look at.
type packet struct {
	segment
	ts     uint32
	urgent uint16
	lost   bool // behind the engine
	broken bool // its checksum is wrong, so that the engine must not see it, nor a receiver take it
}

const (
	fin = zerocopy.TCPFin
	syn = zerocopy.TCPSyn
	rst = zerocopy.TCPRst
	ack = zerocopy.TCPAck
	urg = zerocopy.TCPUrg
)

func (h *host) call(isn uint32) {
	h.begin(isn)
	h.state = calling
	h.emit(syn, isn, nil)
}

func (h *host) begin(isn uint32) {
	*h = host{habits: h.habits, send: h.send, window: h.window, done: h.done, early: map[uint32]byte{}}
	h.isn, h.sndUna, h.sndNxt = isn, isn, isn+1
}

func (h *host) emit(flags uint8, seq uint32, data []byte) {
	p := packet{segment: segment{flags: flags, seq: seq, window: uint16(h.window), data: data}}
	if flags&ack != 0 {
		p.ack = h.rcvNxt
		h.rcvWup = h.rcvNxt
	}
	h.send(p)
}

func (h *host) acknowledge() { h.emit(ack, h.sndNxt, nil) }

// write sends data of its own.
func (h *host) write(b []byte) {
	if h.state == talking {
		h.emit(ack, h.sndNxt, b)
		h.sndNxt += uint32(len(b))
		h.sent = append(h.sent, b...)
	}
}

// receive takes a packet that has passed the engine.
func (h *host) receive(p packet, isn uint32) {
	if p.broken {
		return
	}
	if p.changes&stripData != 0 {
		p.data = nil
	}
	if p.changes&clearUrgent != 0 {
		p.flags &^= urg
	}
	end := p.seq + uint32(len(p.data))
	switch h.state {
	case listening, over:
		if p.flags&(syn|ack|rst|fin) != syn || h.state == over && !h.reopens {
			if h.state == over && p.flags&rst == 0 {
				h.emit(rst, p.ack, nil)
			}
			return
		}
		h.finish()
		h.begin(isn)
		h.state = answering
		h.irs, h.rcvNxt, h.recent = p.seq, p.seq+1, p.ts
		if h.synData {
			h.take(p.seq+1, p.data, p)
		}
		h.emit(syn|ack, h.isn, nil)
		return
	case calling:
		if p.flags&rst != 0 && p.flags&ack != 0 && p.ack == h.sndNxt {
			h.state = over
			return
		}
		if p.flags&syn == 0 || p.flags&(rst|fin) != 0 || p.flags&ack != 0 && p.ack != h.sndNxt {
			return
		}
		h.irs, h.rcvNxt, h.recent = p.seq, p.seq+1, p.ts
		if h.synData {
			h.take(p.seq+1, p.data, p)
		}
		if p.flags&ack == 0 { // both call
			h.state = answering
			h.emit(syn|ack, h.isn, nil)
			return
		}
		h.state, h.sndUna, h.most = talking, p.ack, uint32(p.window)
		h.acknowledge()
		return
	}
	if h.state == answering && p.flags&(syn|ack|rst) == syn && p.seq == h.irs {
		h.emit(syn|ack, h.isn, nil)
		return
	}
	if h.paws && int32(p.ts-h.recent) < 0 && p.flags&rst == 0 {
		h.acknowledge()
		return
	}
	if before(end, h.rcvWup) || before(h.rcvNxt+h.window, p.seq) {
		if p.flags&rst == 0 {
			h.acknowledge()
		}
		return
	}
	switch {
	case p.flags&rst != 0:
		if p.seq == h.rcvNxt || h.anyReset {
			h.state = over
		} else {
			h.acknowledge()
		}
		return
	case p.flags&syn != 0 && h.state == answering && p.flags&ack != 0 && p.seq == h.irs && p.ack == h.sndNxt:
	case p.flags&syn != 0:
		h.acknowledge()
		return
	case p.flags&ack == 0:
		return
	}
	if before(h.sndNxt, p.ack) || before(p.ack, h.sndUna-h.most) || h.state == answering && p.ack != h.sndNxt {
		h.acknowledge()
		return
	}
	if h.state == answering {
		h.state = talking
		if p.flags&syn != 0 {
			h.acknowledge()
			return
		}
	}
	h.sndUna = later(h.sndUna, p.ack)
	h.most = max(h.most, uint32(p.window))
	if !before(h.rcvWup, p.seq) {
		h.recent = p.ts
	}
	if len(p.data) == 0 && p.flags&fin == 0 {
		return
	}
	h.take(p.seq, p.data, p)
	if p.flags&fin != 0 && !before(end, h.rcvNxt) && !h.ends {
		h.fin, h.ends = end, true
	}
	h.drain()
	h.acknowledge()
}

// take puts data where it belongs.
func (h *host) take(seq uint32, data []byte, p packet) {
	for i, b := range data {
		at := seq + uint32(i)
		if before(at, h.rcvNxt) || h.trims && !before(at, h.rcvNxt+h.window) {
			continue
		}
		if p.flags&urg != 0 && h.outOfBand && at == seq+uint32(p.urgent) {
			b = '!' // which stands for one byte fewer
		}
		if _, has := h.early[at]; !has || h.lastWins {
			h.early[at] = b
		}
	}
	h.drain()
}

// drain has the application read what is in order.
func (h *host) drain() {
	for !h.ended {
		if h.ends && h.rcvNxt == h.fin && !h.readsEnd {
			h.rcvNxt++
			h.ended = true
			return
		}
		b, ok := h.early[h.rcvNxt]
		if !ok {
			return
		}
		delete(h.early, h.rcvNxt)
		h.read = append(h.read, b)
		h.rcvNxt++
	}
}

// finish notes what was read of a connection.
func (h *host) finish() {
	if len(h.read) > 0 {
		h.done = append(h.done, connection{h.isn, h.irs, h.read})
	}
	h.read = nil
}

// A stage is an engine between two ends, at the level of segments.
type stage struct {
	e     *Engine
	key   key
	clock uint32
}

// pass has the engine decide a packet, and reports whether it goes on.
func (s *stage) pass(p *packet, way uint8) bool {
	if p.broken {
		return false // it is dropped before
	}
	p.key, p.way, p.hash = s.key, way, s.key.hash(s.e.seed)
	seg := p.segment
	if why, ok := seg.check(); !ok {
		s.e.shards[0].drop(why)
		return false
	}
	p.changes = seg.changes
	seg.data = append([]byte(nil), seg.data...) // which the engine must not keep
	ok := s.e.handle(&seg).Kind() == ipq.Accept
	clear(seg.data)
	return ok && !p.lost
}
