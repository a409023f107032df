package rules

import (
	"fmt"
	"net/netip"

	"github.com/goipq/goipq/ipq"
)

// A Set is all that a product has in nftables: one table.
type Set struct {
	// Table is the name of the table: a letter, then letters, digits and _.
	Table  string
	Family Family
	Chains []Chain

	// OwnMark is the mark of the product's own traffic: packets with it pass all
	// chains of the Set, before any of its rules, and so do packets for local
	// sockets that have it, at Prerouting and Input, where the kernel has nft's
	// socket expression (CONFIG_NFT_SOCKET). The handler may then wait for an
	// answer from the network without waiting for itself. 0: none. Sockets are
	// given the mark by SO_MARK.
	OwnMark uint32
	// RejectMark is the mark of the packets by which the product rejects others.
	// They pass like those with OwnMark. 0: none.
	RejectMark uint32

	// Defrag has the kernel put fragments together before they come to the
	// chains, at Prerouting and Output after priority -400, and so see ports in
	// each packet. It switches connection tracking on, which does that. In family
	// Bridge that is so for what comes in, after priority -200 of Prerouting, and
	// not for what this machine sends.
	Defrag bool
	// ConnLabels has the kernel keep room for labels in each new connection, so
	// that a verdict can set them. Rules with SetConnLabels need it not.
	ConnLabels bool
}

// A Family says which packets the chains of a Set see.
type Family uint8

const (
	// Inet is IPv4 and IPv6.
	Inet Family = iota
	// Bridge is frames that a bridge of this machine passes on, or that come from
	// or to it.
	Bridge
)

// String returns the family as nft spells it.
func (f Family) String() string {
	switch f {
	case Inet:
		return "inet"
	case Bridge:
		return "bridge"
	}
	return fmt.Sprintf("family %d", uint8(f))
}

// A Chain is a list of rules at a hook. A packet that no rule decides goes on.
type Chain struct {
	Hook ipq.Hook
	// Priority orders the chains of all tables at a hook: lower ones are earlier,
	// 0 is nft's "filter". Two Chains of a Set differ in Hook or Priority.
	Priority int32
	Rules    []Rule
}

// A Rule counts the packets that it matches, and does with them what it says: it
// marks them, and then it queues or decides them, or leaves them to the next rule.
type Rule struct {
	// Comment is shown by nft; up to 128 bytes, without quotes and new lines.
	Comment string

	// Match is what must be so, Not what must not be so, each condition by
	// itself: none of those in Not holds. Without conditions all packets match.
	Match, Not Match

	// SetMark changes bits of the packet's mark, SetConnMark of the connection's
	// mark, SetConnLabels sets the connection's labels of these numbers, 0 to 127.
	SetMark, SetConnMark Mark
	SetConnLabels        []uint8

	// Queue sends packets to a queue. When the handler accepts one, it goes on at
	// the next chain, not at the next rule. It excludes Action.
	Queue  *Queue
	Action Action
}

// A Match is a list of conditions, of which all must hold; a zero field is no
// condition, and of several values in a field one must fit. With addresses, a
// protocol or ports it selects IP packets only.
type Match struct {
	// SrcAddrs and DstAddrs are addresses and networks, of IPv4 and IPv6 together
	// if you like; see [ParseAddrs]. There may be many thousands.
	SrcAddrs, DstAddrs []netip.Prefix

	// Protocol is that of the IP packet's payload (IPPROTO_*), behind all
	// extension headers.
	Protocol uint8
	// SrcPorts and DstPorts need a Match.Protocol with ports: TCP, UDP, UDP-Lite,
	// SCTP or DCCP. A fragment other than the first has no ports, but some kernels
	// take the start of its data for them: see Set.Defrag.
	SrcPorts, DstPorts []PortRange
	// TCPFlags needs the Match.Protocol TCP.
	TCPFlags TCPFlags

	// InDevs and OutDevs are names of the links that packets come in and go out
	// by; with * at the end, all that begin so. Nothing comes in at Output, and at
	// Prerouting and Input it is not known where packets go out.
	InDevs, OutDevs []string

	// CTState is one of the states of the packet's connection. It switches
	// connection tracking on. In family Bridge it takes a kernel that tracks
	// connections there (CONFIG_NF_CONNTRACK_BRIDGE), and so does all else that is
	// about connections, and Set.Defrag.
	CTState ConnState
	// Mark is about bits of the packet's mark, ConnMark of its connection's.
	Mark, ConnMark Mark
	// ConnLabels are numbers of labels, 0 to 127, of which the connection has one.
	ConnLabels []uint8

	// UIDs are the users of local sockets, at Output and Postrouting: as the user
	// namespace that the network namespace belongs to numbers them.
	UIDs []uint32
}

// A PortRange is ports from First to Last, both included.
type PortRange struct{ First, Last uint16 }

// String returns for example "80" or "1024-65535".
func (r PortRange) String() string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// TCPFlags are values of flags in a TCP header: of those in Mask, those in Value
// are set and the others are not. For packets that open a connection it is
// {Value: SYN, Mask: SYN | ACK}. A zero Mask is no condition.
type TCPFlags struct{ Value, Mask uint8 }

// The flags of TCP (RFC 9293).
const (
	FIN uint8 = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// A Mark is the bits of Mask in a mark, and their Value. A zero Mask is none; the
// whole mark is {Value: 7, Mask: math.MaxUint32}.
type Mark struct{ Value, Mask uint32 }

// A ConnState is a set of states of connections.
type ConnState uint8

// The states that the kernel tells.
const (
	Invalid     ConnState = 1 << 0 // of no connection that it could make out
	Established ConnState = 1 << 1 // packets of both directions were seen
	Related     ConnState = 1 << 2 // opened by another, such as ICMP errors
	New         ConnState = 1 << 3
	Untracked   ConnState = 1 << 6 // by a rule's notrack
)

// An Action is what becomes of a packet.
type Action uint8

const (
	// Continue leaves the packet to the next rule.
	Continue Action = iota
	// Accept lets it pass this chain. Later chains see it.
	Accept
	// Drop discards it.
	Drop
	// Reject discards it and tells the sender: by a TCP reset, else by ICMP or
	// ICMPv6 "administratively prohibited". Resets and ICMP errors are discarded
	// without an answer, so over loopback keep the rule from matching those that it
	// sends. There is none at Postrouting, and in family Bridge at Prerouting and
	// Input only.
	Reject
)

// String returns the action as nft spells it.
func (a Action) String() string {
	switch a {
	case Continue:
		return "continue"
	case Accept:
		return "accept"
	case Drop:
		return "drop"
	case Reject:
		return "reject"
	}
	return fmt.Sprintf("action %d", uint8(a))
}

// A Queue is where a rule sends packets.
type Queue struct {
	First uint16 // number of the first queue
	Count int    // how many from there on; 0 means 1
	// Bypass lets packets go on to the next chain when nobody listens on their
	// queue. Otherwise they are dropped.
	Bypass bool
	// Spread is how several queues share packets.
	Spread Spread
}

// A Spread says which of several queues gets a packet.
type Spread uint8

const (
	// Balance has the kernel choose by the addresses. It is the same for both
	// directions, but does not look at ports: all that two hosts have to say to
	// each other is in one queue.
	Balance Spread = iota
	// ByCPU chooses by the CPU that the packet is on, so that a flow stays in a
	// queue as long as it stays on a CPU.
	ByCPU
	// ByFlow chooses by addresses, protocol and ports (of TCP, UDP, UDP-Lite, SCTP
	// and DCCP), the same for both directions. The hash has a secret of the
	// kernel's, so that nobody can aim flows at one queue. All fragments of a
	// datagram, the first one too, go by addresses and protocol alone, and so
	// perhaps to another queue than the rest of their flow; with Set.Defrag there
	// are none. What is in a tunnel that is not encrypted (IP in IP, GRE) goes by
	// what is inside. At Output, old kernels (5.10) put all packets of IPv4 whose
	// headers raw sockets have written into one queue. At most 1024 queues.
	ByFlow
)

// String returns the name of the constant.
func (s Spread) String() string {
	switch s {
	case Balance:
		return "balance"
	case ByCPU:
		return "by CPU"
	case ByFlow:
		return "by flow"
	}
	return fmt.Sprintf("spread %d", uint8(s))
}

// ParseAddrs returns addresses and networks ("192.0.2.1", "10.0.0.0/8",
// "2001:db8::/32"), as a [Match] takes them. The error matches [ErrConfig].
func ParseAddrs(texts ...string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, bad(fmt.Sprintf("address %d", i), "%q is neither an address nor a network", text)
		}
		prefixes[i] = prefix
	}
	return prefixes, nil
}
