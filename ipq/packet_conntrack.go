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
	// OrigCount and ReplyCount are what has passed in each direction, this packet
	// included. They are zero unless net.netfilter.nf_conntrack_acct was set when the
	// connection began.
	OrigCount, ReplyCount ConntrackCount
	// Start is when the connection began, or the zero time while it is not confirmed, and
	// unless net.netfilter.nf_conntrack_timestamp was set.
	Start time.Time
	// ProtocolState is the state in which connection tracking takes a connection of TCP,
	// SCTP or DCCP to be, as the kernel numbers it (enum tcp_conntrack and so on); 0 of
	// other protocols. See [Conntrack.ProtocolStateName].
	ProtocolState uint8
}

// ConntrackCount is what has passed in one direction of a connection.
type ConntrackCount struct{ Packets, Bytes uint64 }

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

		OrigCount:     ConntrackCount(z.OrigCount),
		ReplyCount:    ConntrackCount(z.ReplyCount),
		Start:         startTime(z.Start),
		ProtocolState: z.ProtoState,
	}, true
}

// ConntrackBytes returns the attributes of the packet's connection as the kernel has sent
// them (the nest NFQA_CT, of attributes CTA_*), with [Config.Conntrack], or nil. They are
// borrowed, as the payload is.
func (p *Packet) ConntrackBytes() []byte { return p.msg.Conntrack() }

func tupleFlow(t *zerocopy.Tuple) Flow {
	f := Flow{Src: t.Src, Dst: t.Dst, SrcPort: t.SrcPort, DstPort: t.DstPort, Protocol: t.Proto}
	if t.Proto == protoICMP || t.Proto == protoICMPv6 {
		f.SrcPort, f.DstPort = t.ICMPID, t.ICMPID
	}
	return f
}

func startTime(ns uint64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(ns))
}

// protocolStates are the names of ProtocolState, by protocol, as conntrack(8) has them.
var protocolStates = map[uint8][]string{
	protoTCP: {"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2"},
	33: { // DCCP
		"NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT", "IGNORE", "INVALID",
	},
	132: { // SCTP
		"NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT",
		"HEARTBEAT_SENT", "HEARTBEAT_ACKED",
	},
}

// ProtocolStateName returns the name of ProtocolState as conntrack(8) has it, such as
// "ESTABLISHED", or "" for protocols that have no state, and for states that goipq does not
// know.
func (c *Conntrack) ProtocolStateName() string {
	if names := protocolStates[c.Orig.Protocol]; int(c.ProtocolState) < len(names) {
		return names[c.ProtocolState]
	}
	return ""
}

// SetMark gives those bits of the packet's mark (skb->mark, what rules see as "meta
// mark") that are set in mask the values that they have in mark, as the verdict takes
// effect. The others stay, as the packet came with them or an earlier call has set
// them; a mask of 0 takes back all that was set. [Packet.Mark] then returns the new
// mark. A [Verdict.WithMark] replaces it.
func (p *Packet) SetMark(mark, mask uint32) {
	e := &p.edit
	if mask == 0 {
		e.attrs.Has &^= zerocopy.HasMark
		return
	}
	e.attrs.Mark = p.Mark()&^mask | mark&mask
	e.attrs.Has |= zerocopy.HasMark
}

// SetConnMark gives those bits of the connection's mark (ct mark) that are set
// in mask the values that they have in mark, and leaves the others alone, but for
// those that an earlier call has set: a mask of ^uint32(0) sets the whole mark, one of
// 0 takes back all that was set. It is done as the verdict is given, whatever that is.
// It needs [Config.Conntrack], without which the kernel may ignore it silently: opening
// the queue with that is what loads nf_conntrack_netlink. A packet that is not tracked
// has no mark to set.
//
// It returns [ErrUndeliverable] and changes nothing after [Packet.SetPayload] with
// a TCP segment of another length, on a connection that is translated (NAT): the
// kernel's answer to the two together is a warning (nf_ct_seqadj_set). Whether a
// connection is, goipq knows with Config.Conntrack only, and takes it for one
// otherwise. SetPayload after SetConnMark does the same.
func (p *Packet) SetConnMark(mark, mask uint32) error {
	e := &p.edit
	switch {
	case mask == 0: // which the kernel is not asked for: to the wire it is every bit
		e.attrs.Has &^= zerocopy.HasCTMark
		return nil
	case p.resizedUpsetsNAT():
		return errSeqAdjust
	case e.attrs.Has&zerocopy.HasCTMark == 0:
		e.attrs.CTMark, e.attrs.CTMask = 0, 0
	}
	e.attrs.CTMark = e.attrs.CTMark&^mask | mark&mask // the kernel flips what stands outside of the mask
	e.attrs.CTMask |= mask
	e.attrs.Has |= zerocopy.HasCTMark
	return nil
}

// SetConnLabels gives those of the connection's 128 labels (ct label) that are set in
// mask the values that they have in value, and leaves the others alone, but for those
// that an earlier call has set; a mask of zeroes takes back all that was set. The bits
// stand as in [Conntrack.Labels]: label n is bit n%8 of byte n/8 on little-endian hosts.
// Otherwise it is as [Packet.SetConnMark], errors too.
//
// The kernel gives labels to connections that begin while some rule of the network
// namespace sets labels (nft's "ct label set", iptables' -m connlabel), and to no others.
// It says nothing when it does not: such a verdict takes effect, and sets neither labels
// nor connection mark. So SetConnLabels asks, once a second at the most, whether a
// connection that begins now has labels, and returns [ErrNoLabels] if it has none. That
// an older connection has none, it does not find out; with [Config.Conntrack] the next
// packet of the connection shows its labels. To ask means to add an entry of protocol
// 255 to the connection table and to remove it. Where this process may not do that any
// more, nothing is asked.
func (p *Packet) SetConnLabels(value, mask [16]byte) error {
	e := &p.edit
	switch {
	case mask == [16]byte{}:
		e.attrs.Has &^= zerocopy.HasCTLabels
		return nil
	case p.resizedUpsetsNAT():
		return errSeqAdjust
	case !p.sock.KeepsLabels():
		return ErrNoLabels
	case e.attrs.CTLabels == nil: // it stays for the next packets in this one's place
		e.attrs.CTLabels = new(zerocopy.CTLabels)
	case e.attrs.Has&zerocopy.HasCTLabels == 0:
		*e.attrs.CTLabels = zerocopy.CTLabels{}
	}
	l := e.attrs.CTLabels
	for i, m := range mask {
		l.Value[i] = l.Value[i]&^m | value[i]&m
		l.Mask[i] |= m
	}
	e.attrs.Has |= zerocopy.HasCTLabels
	return nil
}

// resizedUpsetsNAT is upsetsNAT for a payload that was set.
func (p *Packet) resizedUpsetsNAT() bool {
	e := &p.edit
	return e.payload != nil && e.resized && p.upsetsNAT(e.datagram())
}
