package netlab

import (
	"errors"
	"fmt"
	"sync"
)

// ErrUnavailable is wrapped by the errors of [Enter] and [New] when this
// process may not make namespaces. The message names the limit that is the
// cause and what to change.
var ErrUnavailable = errors.New("private network namespace unavailable")

// ErrNotInside is returned by [Current] in a process that [Enter] did not put
// into a private namespace: its namespace may be the machine's.
var ErrNotInside = errors.New("netlab: not inside a private network namespace: call netlab.Enter first")

// An NS is a private network namespace, held by a file descriptor. It lives
// until that is closed and the last thread and socket in it are gone; its links
// and rules go with it. Its methods may be called from any goroutine.
type NS struct {
	mu sync.RWMutex // held for reading while fd is in use
	fd int          // -1 once closed
}

// FD returns the namespace's file descriptor, as ipq.Config.NetNS takes it: it
// belongs to the NS and is valid until Close. After Close it is -1.
func (n *NS) FD() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.fd
}

// A Hook is a place where the kernel's IP stack runs rules. The numbers are the
// kernel's (enum nf_inet_hooks).
type Hook int

// The five hooks of the IP families.
const (
	Prerouting  Hook = iota // NF_INET_PRE_ROUTING: arrived, not yet routed
	Input                   // NF_INET_LOCAL_IN: for this namespace
	Forward                 // NF_INET_FORWARD: for another
	Output                  // NF_INET_LOCAL_OUT: made here
	Postrouting             // NF_INET_POST_ROUTING: about to leave
)

var hookNames = [...]string{"prerouting", "input", "forward", "output", "postrouting"}

// String returns nft's name of the hook.
func (h Hook) String() string {
	if h < 0 || int(h) >= len(hookNames) {
		return fmt.Sprintf("hook(%d)", int(h))
	}
	return hookNames[h]
}

// A Match selects packets; all its conditions must hold. The zero value selects
// every IPv4 and IPv6 packet.
type Match struct {
	Family  uint8  // unix.AF_INET or unix.AF_INET6; 0: both
	L4Proto uint8  // unix.IPPROTO_*; 0: any
	DstPort uint16 // destination port; needs L4Proto, and misses all but the first fragment; 0: any

	// EchoRequest selects ICMP echo requests of the Family, or of both. It
	// stands for L4Proto, which must then be 0.
	EchoRequest bool

	Mark    uint32 // only packets with exactly this mark; 0: any
	NotMark uint32 // no packet with exactly this mark, as a Repeat verdict needs; 0: any

	InDev  string // name of the link it came in by; "": any
	OutDev string // name of the link it goes out by; "": any
}

// A Rule sends the packets that it matches to queues.
type Rule struct {
	Hook  Hook
	Match Match

	Queue  uint16 // number of the first queue
	Queues int    // consecutive queues the kernel balances over; 0 means 1

	// Bypass lets packets go on to the next chain when nobody listens on the
	// queue; otherwise they are dropped.
	Bypass bool

	// FanoutCPU picks the queue by the CPU that the packet is on rather than
	// by a hash of addresses and protocol, which knows no ports.
	FanoutCPU bool

	Priority int32 // of the chain at its hook: lower runs earlier, 0 is nft's "filter"
}

// A Counter is what one rule has seen.
type Counter struct {
	Packets uint64
	Bytes   uint64 // lengths of the packets from the IP header on
}

// A QueueStat is the kernel's own account of one bound queue, a line of
// /proc/net/netfilter/nfnetlink_queue.
type QueueStat struct {
	Queue       uint16
	PortID      uint32 // netlink port id of the listener's socket
	Waiting     uint32 // packets without a verdict (queue_total)
	CopyMode    uint8  // NFQNL_COPY_NONE 0, NFQNL_COPY_META 1, NFQNL_COPY_PACKET 2
	CopyRange   uint32 // bytes of payload that are copied
	Dropped     uint32 // dropped because the queue was full (queue_dropped)
	UserDropped uint32 // dropped because the socket was full (queue_user_dropped)
	IDSequence  uint32 // id of the last packet
}
