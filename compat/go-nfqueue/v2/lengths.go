package nfqueue

import (
	"sync/atomic"

	"github.com/goipq/goipq/ipq"
)

// lengths remembers of the last packets what an altered one may change when a mark or
// labels of its connection go with it: the kernel would adjust the sequence numbers of a
// translated connection to a new length, which it is not prepared for.
type lengths struct {
	recent [remembered]atomic.Uint64 // id, length, and whether another one does no harm
}

const (
	remembered = 4096

	idShift  = 32
	anyShift = 31
)

// note remembers p.
func (l *lengths) note(p *ipq.Packet) {
	n := len(p.Payload()) + len(p.Trailer())
	if p.Truncated() {
		n = p.Len()
	}
	v := uint64(p.ID())<<idShift | uint64(n)
	const natMask = 1<<4 | 1<<5 // IPS_SRC_NAT, IPS_DST_NAT
	if ct, ok := p.Conntrack(); ok && ct.Status&natMask == 0 {
		v |= 1 << anyShift
	}
	l.recent[p.ID()%remembered].Store(v)
}

// kept reports whether a payload of n bytes in place of packet id upsets no sequence
// numbers, as far as is known.
func (l *lengths) kept(id uint32, n int) bool {
	v := l.recent[id%remembered].Load()
	return uint32(v>>idShift) == id && (v&(1<<anyShift) != 0 || int(v&(1<<anyShift-1)) == n)
}
