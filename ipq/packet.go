package ipq

import (
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// A Packet is a queued packet, decoded in place.
//
// It is borrowed: the Packet, and every slice that its methods return, is
// valid until HandlePacket returns, or until the next read from a [Conn].
// Copy what must live longer. Programs built with the race detector report
// those that do not.
//
// Attributes that the kernel did not send are zero; where zero is a possible
// value, a second result tells.
type Packet struct {
	msg  zerocopy.Message
	slot []byte // the buffer that msg lies in, with the room behind it
	size int    // bytes of the slot that were received
	sock *socket

	batch *ring.Batch // nil for a copy
	edit  edits

	caller *caller // that has it handled; nil with a Conn
	call   uint64  // its number, see caller.state

	flow     Flow   // once it was asked for, if hasFlow
	hash     uint64 // likewise
	hasFlow  bool
	hasHash  bool
	bucket   uint16 // of its flow, with a pool; see flowTable
	place    uint16 // where it lies in batch
	broken   bool   // only the id is known
	deferred bool
	own      bool // it is a copy, and the slot its own
}

// ID returns the packet's number in its queue. The kernel counts from 1 and
// wraps around.
func (p *Packet) ID() uint32 { return p.msg.ID() }

// Queue returns the number of the queue that the packet waits in.
func (p *Packet) Queue() uint16 { return p.msg.Queue() }

// Hook returns where in the kernel's path the packet was queued.
func (p *Packet) Hook() Hook { return Hook(p.msg.Hook()) }

// Family returns the protocol family of the hook: AF_INET, AF_INET6 or
// AF_BRIDGE. A rule of nft's inet family has that of the packet.
func (p *Packet) Family() uint8 { return p.msg.Family() }

// EtherType returns that of the payload, such as 0x0800 for IPv4.
func (p *Packet) EtherType() uint16 { return p.msg.HWProtocol() }

// Mark returns the packet's mark (skb->mark), with what [Packet.SetMark] has set.
func (p *Packet) Mark() uint32 {
	if p.edit.attrs.Has&zerocopy.HasMark != 0 {
		return p.edit.attrs.Mark
	}
	return p.msg.Mark()
}

// Priority returns the packet's queueing priority (skb->priority, Linux 5.18).
func (p *Packet) Priority() uint32 { return p.msg.Priority() }

// CgroupClass returns the net_cls class id of the sending socket's control
// group (Linux 6.4).
func (p *Packet) CgroupClass() uint32 { return p.msg.CgroupClass() }

// Payload returns the packet from its network header on, as far as it was
// copied: nil with [CopyMeta]. Of an IP packet it ends where the IP header says;
// see [Packet.Trailer]. It is for reading; see [Packet.EditPayload].
func (p *Packet) Payload() []byte {
	if e := &p.edit; e.payload != nil {
		n := len(e.payload) - e.trailer
		return e.payload[:n:n]
	}
	b := p.msg.Payload()
	_, end, _ := p.datagram(b)
	return b[:end:end]
}

// Trailer returns what follows the IP packet in its frame, as far as it was
// copied: at bridge hooks the padding of short Ethernet frames, and what devices
// append. The kernel takes it for no part of the packet. Edits leave it behind the
// payload as it is.
func (p *Packet) Trailer() []byte {
	if e := &p.edit; e.payload != nil {
		return e.payload[len(e.payload)-e.trailer:]
	}
	b := p.msg.Payload()
	_, end, _ := p.datagram(b)
	return b[end:]
}

// BufferSize is how many bytes a packet's buffer has; see [Packet.Exchange].
const BufferSize = zerocopy.MaxOverhead + zerocopy.MaxCopyRange + 3

// Exchange keeps the packet's bytes, without a copy, beyond the return of the handler, or
// the next read from a Conn: it returns the buffer that they lie in, which is then the
// caller's, and gives buf to the queue, to receive a later packet into. What Payload and
// the like return stays valid as long as the caller leaves the buffer alone, which a
// handler must do until it has returned, and for good if what it returns rejects the
// packet or has its flow settled ([Verdict.Bypass]). Otherwise the buffer may then be
// given to a queue by another Exchange.
//
// A buffer has [BufferSize] bytes, and nobody else may use buf. That of [ring.NewBuffers]
// has the headers of many packets fit into a cache.
//
// Exchange reports false, and does nothing, if buf has another size, and for a packet
// that was edited, deferred or exchanged, or whose time is over. What is edited after it
// is edited in the caller's buffer.
func (p *Packet) Exchange(buf []byte) (old []byte, ok bool) {
	if p.batch == nil || p.caller != nil && !p.inCall() || p.edit.payload != nil || p.broken ||
		len(buf) != len(p.slot) || &p.slot[0] != &p.batch.Slot(int(p.place))[0] {
		return nil, false
	}
	p.Flow() // stays known, and so does its hash
	p.FlowHash()
	return p.batch.Exchange(int(p.place), buf)
}

// inCall reports whether the call of the handler for p goes on, and p is its to decide.
func (p *Packet) inCall() bool {
	state := p.caller.state.Load()
	return phaseOf(state) == running && state>>phaseBits == p.call
}

// Len returns the packet's true length in bytes from its network header on,
// without a trailer, also when only a part was copied. It is 0 with [CopyMeta],
// when the kernel does not tell.
func (p *Packet) Len() int {
	n := int(p.msg.CapLen())
	if n == 0 {
		return len(p.Payload())
	}
	b := p.msg.Payload() // truncated, and so not edited
	if ip, end, ok := zerocopy.NetworkOf(p.msg.HWProtocol(), b, n); ok && !p.GSO() {
		return ip + zerocopy.DatagramLenOf(b[ip:], end-ip)
	}
	return n
}

// network returns where the IP packet begins and ends in a payload that the
// packet has or is to have: behind VLAN tags, and within a PPPoE frame. A trailer
// is part of it. It reports false if there is no IP packet.
func (p *Packet) network(b []byte) (ip, end int, ok bool) {
	return zerocopy.Network(p.msg.HWProtocol(), b)
}

// datagram returns where the IP datagram begins and ends in b, the packet's
// payload as it came. Of what is not an IP packet, end is where b ends.
func (p *Packet) datagram(b []byte) (ip, end int, ok bool) {
	ip, end, ok = p.network(b)
	switch {
	case !ok:
		return 0, len(b), false
	case p.GSO(): // whose length may be more than its header can say
		return ip, end, true
	}
	return ip, ip + zerocopy.DatagramLen(b[ip:end]), true
}

// Truncated reports whether Payload is only a part of the packet.
func (p *Packet) Truncated() bool { return p.msg.CapLen() != 0 || p.msg.Cut() }

// GSO reports whether the packet is a super-packet that stands for several
// segments (NFQA_SKB_GSO); see [Config.GSO].
func (p *Packet) GSO() bool { return p.msg.SkbInfo()&zerocopy.SkbGSO != 0 }

// ChecksumReady reports whether the transport checksum is filled in. It is not
// in packets sent from this host that leave the sum to the network device
// (NFQA_SKB_CSUMNOTREADY); that is no error.
func (p *Packet) ChecksumReady() bool { return p.msg.SkbInfo()&zerocopy.SkbCsumNotReady == 0 }

// ChecksumVerified reports whether the kernel or the device has checked the
// transport checksum already (not NFQA_SKB_CSUM_NOTVERIFIED).
func (p *Packet) ChecksumVerified() bool { return p.msg.SkbInfo()&zerocopy.SkbCsumNotVerified == 0 }

// InDev returns the index of the interface that the packet came in by, or 0.
func (p *Packet) InDev() int { return int(p.msg.InDev()) }

// OutDev returns the index of the interface that the packet goes out by, or 0.
func (p *Packet) OutDev() int { return int(p.msg.OutDev()) }

// PhysInDev returns the index of the bridge port that the packet came in by,
// or 0.
func (p *Packet) PhysInDev() int { return int(p.msg.PhysInDev()) }

// PhysOutDev returns the index of the bridge port that the packet goes out by,
// or 0.
func (p *Packet) PhysOutDev() int { return int(p.msg.PhysOutDev()) }

// InterfaceName returns the name of the interface with that index in the
// queue's network namespace, or "" if there is none. Names are remembered for
// a second.
func (p *Packet) InterfaceName(index int) string { return p.sock.InterfaceName(index) }

// HardwareAddr returns the link-layer source address of a packet that came in
// by a device, or nil.
func (p *Packet) HardwareAddr() net.HardwareAddr { return p.msg.HWAddr() }

// VLAN returns the packet's VLAN tag: its EtherType and tag control
// information. Bridge hooks only.
func (p *Packet) VLAN() (proto, tci uint16, ok bool) { return p.msg.VLAN() }

// LinkHeader returns the link-layer header, or nil. Bridge hooks only.
func (p *Packet) LinkHeader() []byte { return p.msg.L2Header() }

// Timestamp returns when the packet was received, to the microsecond, or the
// zero time: the kernel stamps packets only while some socket asks it to
// (tcpdump's, ping's, one with SO_TIMESTAMP), never those that this host sends,
// and shows the stamp at the hooks up to Forward.
func (p *Packet) Timestamp() time.Time {
	sec, usec, ok := p.msg.Timestamp()
	if !ok {
		return time.Time{}
	}
	return time.Unix(int64(sec), int64(usec)*1000)
}

// UID returns the user that owns the sending socket, with [Config.UIDGID]. It
// is a number of the initial user namespace.
func (p *Packet) UID() (uid uint32, ok bool) { return p.msg.UID() }

// GID returns the group that owns the sending socket, with [Config.UIDGID].
func (p *Packet) GID() (gid uint32, ok bool) { return p.msg.GID() }

// SecurityContext returns the security label of the sending socket, with
// [Config.SecCtx], or nil.
func (p *Packet) SecurityContext() []byte { return p.msg.SecCtx() }

// IP returns the IP datagram in Payload, as far as it was copied: what is behind
// VLAN tags and the header of a PPPoE session, which the hooks of a bridge show.
// It is nil where there is none, also where the header's version is not what the
// EtherType says: the kernel drops that.
func (p *Packet) IP() []byte {
	if e := &p.edit; e.payload != nil {
		return slices.Clip(e.datagram())
	}
	b := p.msg.Payload()
	ip, end, ok := p.datagram(b)
	if !ok {
		return nil
	}
	return b[ip:end:end]
}

// Flow returns the five-tuple of [Packet.IP]; it is the zero Flow for what is
// not an IP packet. See [Flow.Unknown] for what it cannot tell. It is parsed once,
// unless the payload was edited.
func (p *Packet) Flow() Flow {
	if p.edit.payload != nil {
		return flowOf(p.IP())
	}
	if !p.hasFlow {
		p.flow, p.hasFlow = flowOf(p.IP()), true
	}
	return p.flow
}

// Transport returns the part of [Packet.IP] from the upper-layer header on: that
// of the protocol that [Flow.Protocol] names, behind IPv4 options and IPv6
// extension headers. It is nil for what is not an IP packet, for fragments (the
// first, too), and where the headers before it are cut off or lead nowhere.
func (p *Packet) Transport() []byte { return zerocopy.Transport(p.IP()) }

const (
	etherTypeIPv4 = 0x0800 // ETH_P_IP
	etherTypeIPv6 = 0x86dd // ETH_P_IPV6
)

// FlowHash returns the hash of the flow that the packet came with, whatever was
// edited since. It is that of [Flow.Hash], at less cost, and what the pool goes by:
// packets with one hash are handled in order.
func (p *Packet) FlowHash() uint64 {
	if !p.hasHash {
		p.hash, p.hasHash = p.hashFlow(), true
	}
	return p.hash
}

func (p *Packet) hashFlow() uint64 {
	// On every packet's way, so what is behind nothing else is not looked for.
	b := p.msg.Payload()
	if zerocopy.Plain(p.msg.HWProtocol(), b) {
		return zerocopy.HashFlow(b, flowSeed)
	}
	ip, end, ok := p.network(b)
	if !ok {
		return zerocopy.HashFlow(nil, flowSeed)
	}
	return zerocopy.HashFlow(b[ip:end], flowSeed)
}

// A Hook is the place in the kernel's packet path at which a packet was
// queued. The IPv4, IPv6, inet and bridge families number their hooks alike
// (NF_INET_PRE_ROUTING and so on). Current kernels queue nowhere else: not at
// the hooks of the netdev and arp families, nor at inet's ingress.
type Hook uint8

// The hooks of the IPv4, IPv6, inet and bridge families.
const (
	Prerouting  Hook = 0
	Input       Hook = 1
	Forward     Hook = 2
	Output      Hook = 3
	Postrouting Hook = 4
)

var hookNames = [...]string{"prerouting", "input", "forward", "output", "postrouting"}

// String returns the hook's name as nft spells it.
func (h Hook) String() string {
	if int(h) < len(hookNames) {
		return hookNames[h]
	}
	return "hook " + strconv.Itoa(int(h))
}
