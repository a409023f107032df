package bypass

import (
	"fmt"
	"regexp"

	"github.com/goipq/goipq/ipq"
)

// Rules describe a chain that decides settled flows and queues the other
// packets that it selects.
type Rules struct {
	// Table is the name of the nft table, of family inet; "" means
	// "goipq_bypass". Install makes it, and refuses one that exists.
	Table string
	// Hook and Priority are the place of the chain: lower priorities run
	// earlier, 0 is nft's "filter". With [ConnMark] and [NFTSet] the next one
	// is used, too.
	//
	// What is settled is the five-tuple as it is at this hook. A flow that is
	// translated (NAT) has the same tuple in both directions at Forward, but
	// not at Prerouting before -100, nor on both sides of a translation: use one
	// Bypasser for one place.
	Hook     ipq.Hook
	Priority int32

	// Match selects the packets: those that one of them fits. None selects
	// every IPv4 and IPv6 packet. Both directions of a flow should be selected.
	Match []Match

	// Queue is the number of the first queue, Queues how many the kernel
	// spreads packets over; 0 means 1.
	Queue  uint16
	Queues int
	// FanoutCPU chooses the queue by the CPU that a packet is on, not by its
	// addresses.
	FanoutCPU bool
	// QueueBypass is the queue's own bypass flag: with it packets go on when
	// nobody listens on the queue; without they are dropped.
	QueueBypass bool
}

// A Match selects packets; all its conditions must hold. The zero value selects
// every IPv4 and IPv6 packet.
type Match struct {
	Family   uint8 // 2 (AF_INET) for IPv4, 10 (AF_INET6) for IPv6; 0: both
	Protocol uint8 // of the payload (IPPROTO_*); 0: any
	// Port is the source or the destination port, of TCP, UDP, UDP-Lite, SCTP
	// or DCCP; 0: any. It needs Protocol. A fragment other than the first has
	// none, but some kernels (6.18) take the start of its data for ports.
	Port uint16
	// EchoRequest selects echo requests: ICMP for Family IPv4, ICMPv6 for IPv6,
	// both for 0. It excludes Protocol and Port.
	EchoRequest bool
	InDev       string // name of the link that it came in by; "": any
	OutDev      string // name of the link that it goes out by; "": any
}

const (
	familyIPv4 = 2
	familyIPv6 = 10

	maxLinkName  = 15 // IFNAMSIZ less its zero
	maxTableName = 255
)

// isName accepts the names that nft reads without quotes.
var isName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// xtBPF is the name of the match that runs programs, by which rules refer to it.
const xtBPF = "bpf"

const (
	defaultTable = "goipq_bypass"
	tableComment = "goipq bypass" // what the tables of this package carry
)

// Names of the chains.
const (
	chainBase   = "packets" // at the hook
	chainDecide = "decide"
	chainPlain6 = "plain6" // packets of IPv6 that most often are of settled flows: NFTSet
	chainSettle = "settle" // at the hook, later: ConnMark, NFTSet
	// chainSettling is for packets that settle their flows: NFTSet
	chainSettling = "settling"
)

// withDefaults returns r with its zero values replaced, or an error that
// matches ErrConfig.
func (r Rules) withDefaults() (Rules, error) {
	if r.Table == "" {
		r.Table = defaultTable
	}
	if r.Queues == 0 {
		r.Queues = 1
	}
	if r.Match == nil {
		r.Match = []Match{{}}
	}
	switch {
	case r.Hook > ipq.Postrouting:
		return r, fmt.Errorf("%w: Rules.Hook: there is no %v", ErrConfig, r.Hook)
	case len(r.Table) > maxTableName || !isName.MatchString(r.Table):
		return r, fmt.Errorf("%w: Rules.Table %q: want letters, digits and _, at most %d", ErrConfig, r.Table, maxTableName)
	case r.Priority == 1<<31-1:
		return r, fmt.Errorf("%w: Rules.Priority leaves no room for a later chain", ErrConfig)
	case r.Queues < 1 || r.Queues > 1<<16-1 || int(r.Queue)+r.Queues > 1<<16:
		return r, fmt.Errorf("%w: Rules: no %d queues from queue %d on", ErrConfig, r.Queues, r.Queue)
	}
	for _, m := range r.Match {
		if err := m.check(); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (m Match) check() error {
	switch {
	case m.Family != 0 && m.Family != familyIPv4 && m.Family != familyIPv6:
		return fmt.Errorf("%w: Match.Family %d is neither AF_INET nor AF_INET6", ErrConfig, m.Family)
	case m.EchoRequest && (m.Protocol != 0 || m.Port != 0):
		return fmt.Errorf("%w: Match.EchoRequest excludes Protocol and Port", ErrConfig)
	case m.Port != 0 && !hasPorts(m.Protocol):
		return fmt.Errorf("%w: Match.Port needs a Protocol with ports", ErrConfig)
	case len(m.InDev) > maxLinkName || len(m.OutDev) > maxLinkName:
		return fmt.Errorf("%w: Match: a link name over %d bytes", ErrConfig, maxLinkName)
	}
	return nil
}

// RuleCounters are what the rules of a [Ruleset] have seen: packets of settled
// flows, and packets that went to the queue. A packet that the full queue then
// dropped is among Queued. A packet that passes two rulesets of a Bypasser, at
// two hooks, is in the counters of both.
type RuleCounters struct {
	Accepted, Dropped, Queued Count
	// NoRoom is the packets with [NFTSet] whose flow was to be settled, and is
	// not, or in one direction only, since the sets were full.
	NoRoom Count
}

// A Count is a number of packets, and of their bytes from the IP header on.
type Count struct{ Packets, Bytes uint64 }
