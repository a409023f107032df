package ipq

import "iter"

// Support is what the kernel, this user and this network namespace allow, as far as
// [Probe] could find it out. [Support.All] has the features in order.
type Support struct {
	Kernel string // its release, as of uname -r

	// Queues are netfilter's queues themselves: nfnetlink_queue. Without, nothing works.
	Queues Feature
	// NetAdmin is the right to open queues (CAP_NET_ADMIN over the network namespace), and
	// NetRaw the right to answer packets (CAP_NET_RAW), which [Reject] takes.
	NetAdmin, NetRaw Feature
	// QueueRule is nft's own queue expression, and QueueTarget the NFQUEUE target of
	// iptables, which nft runs, too. A rule takes one of them.
	QueueRule, QueueTarget Feature
	// Bridge are rules that queue at the hooks of a bridge.
	Bridge Feature
	// The flags of a queue, by the fields of Config.
	FailOpen, GSO, Conntrack, UIDGID, SecCtx Feature
	// Tracking is connection tracking for rules, which marks and labels of connections take.
	Tracking Feature
	// EBPF is the right to load eBPF programs, which ipq/bypass takes.
	EBPF Feature
	// Buffer is the receive buffer that this user gets for a queue, and MaxQueueLen how
	// many full frames of 1500 bytes have room in the largest, up to the largest
	// [Config.MaxQueueLen].
	Buffer      Feature
	MaxQueueLen int
	// Offload: no flow of this namespace passes the queue by in a flowtable of nft.
	Offload Feature
	// Datagrams: of datagrams that the kernel has put together (UDP GRO) or is to cut up
	// (UDP GSO), none is lost that begins a connection. Some kernels lose them unless
	// [Config.GSO] is set (CVE-2026-45859).
	Datagrams Feature
}

// A Feature is one of the things that Probe looks for.
type Feature struct {
	State FeatureState
	// Detail says in a sentence what was found, and Remedy what to do about it, if there
	// is anything.
	Detail, Remedy string
	Err            error // what the kernel answered, if it refused something
}

// A FeatureState is what has been found out about a [Feature].
type FeatureState uint8

const (
	// Untried: it could not be found out, such as for want of the right to a network
	// namespace to try it in.
	Untried FeatureState = iota
	// Present: it is there.
	Present
	// Limited: it is there, and not as it could be.
	Limited
	// Missing: it is not there, or not for this user.
	Missing
)

// String returns for example "missing".
func (s FeatureState) String() string {
	switch s {
	case Present:
		return "present"
	case Limited:
		return "limited"
	case Missing:
		return "missing"
	}
	return "untried"
}

// Ready reports whether a queue can be opened here. That rules can fill it, QueueRule and
// QueueTarget tell.
func (s *Support) Ready() bool { return s.Queues.State != Missing && s.NetAdmin.State == Present }

// All yields the features and their names in Support, in its order.
func (s *Support) All() iter.Seq2[string, Feature] {
	return func(yield func(string, Feature) bool) {
		for _, f := range []struct {
			name string
			*Feature
		}{
			{"Queues", &s.Queues}, {"NetAdmin", &s.NetAdmin}, {"NetRaw", &s.NetRaw},
			{"QueueRule", &s.QueueRule}, {"QueueTarget", &s.QueueTarget}, {"Bridge", &s.Bridge},
			{"FailOpen", &s.FailOpen}, {"GSO", &s.GSO}, {"Conntrack", &s.Conntrack}, {"UIDGID", &s.UIDGID}, {"SecCtx", &s.SecCtx},
			{"Tracking", &s.Tracking}, {"EBPF", &s.EBPF}, {"Buffer", &s.Buffer}, {"Offload", &s.Offload}, {"Datagrams", &s.Datagrams},
		} {
			if !yield(f.name, *f.Feature) {
				return
			}
		}
	}
}

func present(detail string) Feature { return Feature{State: Present, Detail: detail} }

func missing(err error, detail, remedy string) Feature {
	return Feature{State: Missing, Detail: detail, Remedy: remedy, Err: err}
}
