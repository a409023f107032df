package ipq

import (
	"strconv"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
)

// Conntrack is what the kernel's connection tracking knows of a packet's
// connection. It is a copy and may be kept.
type Conntrack struct {
	ID      uint32
	State   ConntrackState
	Status  uint32        // IPS_* bits (enum ip_conntrack_status)
	Mark    uint32        // ct mark
	Zone    uint16        // of both directions; 0 when only one has a zone
	Labels  [16]byte      // ct labels
	Timeout time.Duration // until the connection expires, in whole seconds; what it will start from while it is not confirmed
	// Orig is the flow of the connection's first packet, Reply that of the
	// answers to it: with address translation they are not each other's
	// reverse.
	Orig, Reply Flow
}

// ConntrackState is a packet's relation to its connection (enum
// ip_conntrack_info).
type ConntrackState uint8

// The states of connection tracking.
const (
	CTEstablished      ConntrackState = 0 // part of a connection, original direction
	CTRelated          ConntrackState = 1 // begins a related connection, or is an ICMP error about one
	CTNew              ConntrackState = 2 // begins a connection
	CTEstablishedReply ConntrackState = 3 // part of a connection, reply direction
	CTRelatedReply     ConntrackState = 4 // related, reply direction
)

// String returns the state as nft spells it, with ", reply" for the other
// direction.
func (s ConntrackState) String() string {
	switch s {
	case CTEstablished:
		return "established"
	case CTRelated:
		return "related"
	case CTNew:
		return "new"
	case CTEstablishedReply:
		return "established, reply"
	case CTRelatedReply:
		return "related, reply"
	}
	return "state " + strconv.Itoa(int(s))
}

// Conntrack returns the packet's connection, with [Config.Conntrack]. It
// reports false when the kernel sent none, as for a packet that is exempt from
// tracking (notrack) or came by before any rule asked for tracking in this
// network namespace, or one that makes no sense.
func (p *Packet) Conntrack() (Conntrack, bool) {
	info, ok := p.msg.ConntrackInfo()
	if !ok {
		return Conntrack{}, false
	}
	var z zerocopy.Conntrack
	if z.Decode(p.msg.Conntrack()) != nil {
		return Conntrack{}, false
	}
	return Conntrack{
		ID:      z.ID,
		State:   ConntrackState(info),
		Status:  z.Status,
		Mark:    z.Mark,
		Zone:    z.Zone,
		Labels:  z.Labels,
		Timeout: time.Duration(z.Timeout) * time.Second,
		Orig:    tupleFlow(&z.Orig),
		Reply:   tupleFlow(&z.Reply),
	}, true
}

func tupleFlow(t *zerocopy.Tuple) Flow {
	f := Flow{Src: t.Src, Dst: t.Dst, SrcPort: t.SrcPort, DstPort: t.DstPort, Protocol: t.Proto}
	if t.Proto == protoICMP || t.Proto == protoICMPv6 {
		f.SrcPort, f.DstPort = t.ICMPID, t.ICMPID
	}
	return f
}
