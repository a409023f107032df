package ipq

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"syscall"

	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/probe"
)

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

// Probe finds out what the kernel, this user and the caller's network namespace allow. It
// changes nothing in that namespace: it binds no queue and loads no rule there, but asks
// the kernel questions. It tries rules in a network namespace that it makes for it, and
// that goes with it, if this user may have one (CAP_SYS_ADMIN over its user namespace);
// otherwise what takes a rule is [Untried]. The kernel may load modules for it, as it would
// for a queue and its rules.
//
// The error is that there is no netfilter to ask, as on systems other than Linux
// ([errors.ErrUnsupported]). What is missing is none.
func Probe() (Support, error) {
	a, err := probe.Ask()
	s := Support{Kernel: a.Kernel}
	if err != nil {
		return s, fmt.Errorf("ipq: probe: %w", err)
	}
	s.askedHere(a.Queues)
	s.Offload = passesBy(a.Flowtables, a.FlowtablesErr)
	s.EBPF = mayLoad(a.EBPF)
	s.triedRules(&a)
	return s, nil
}

// askedHere takes what the kernel answers in this namespace.
func (s *Support) askedHere(here nfsock.Answers) {
	switch {
	case here.Errno == syscall.EPERM:
		s.NetAdmin = missing(&CapabilityError{Capability: "CAP_NET_ADMIN", Err: here.Errno},
			"This user may not open queues in this network namespace.",
			"Be root, or setcap cap_net_admin+ep the program, or make a namespace: unshare -Urn.")
		s.Queues = Feature{Detail: "Without CAP_NET_ADMIN the kernel does not tell whether it has queues."}
	case here.Errno != 0:
		s.Queues = missing(here.Errno, "The kernel has no queues: nfnetlink_queue is not loaded.", "Run "+moduleHint("nfnetlink_queue")+".")
		s.NetAdmin = present("This user may open queues in this network namespace.")
	default:
		s.Queues = present("The kernel has queues.")
		s.NetAdmin = present("This user may open queues in this network namespace.")
	}
	if here.RawErr != nil {
		s.NetRaw = missing(here.RawErr, "Reject drops packets and tells nobody.", "Give the program CAP_NET_RAW, too.")
	} else {
		s.NetRaw = present("Reject can tell whose packets it drops.")
	}
	places := map[string]*Feature{
		"FailOpen": &s.FailOpen, "GSO": &s.GSO, "Conntrack": &s.Conntrack, "UIDGID": &s.UIDGID, "SecCtx": &s.SecCtx,
	}
	for _, c := range configFlags {
		switch f := places[c.name]; {
		case here.Errno != 0:
			f.Detail = "There is no queue to ask."
		case here.Flags&c.flag != 0:
			*f = present(fmt.Sprintf("The kernel takes Config.%s.", c.name))
		default:
			*f = missing(syscall.EOPNOTSUPP, fmt.Sprintf("This kernel does not take Config.%s.", c.name), "Leave it unset, or use "+c.since+".")
		}
	}
	s.MaxQueueLen = min(here.ReadBuffer/fullFrame, maxMaxQueueLen)
	switch {
	case here.ReadBuffer == 0:
		s.Buffer.Detail = "There is no queue's socket to ask."
	case s.MaxQueueLen < DefaultMaxQueueLen:
		s.Buffer = Feature{State: Limited,
			Detail: fmt.Sprintf("net.core.rmem_max leaves room for %d full frames, not for DefaultMaxQueueLen, %d.", s.MaxQueueLen, DefaultMaxQueueLen),
			Remedy: fmt.Sprintf("Run sysctl -w net.core.rmem_max=%d, or set a lower MaxQueueLen.", DefaultMaxQueueLen*fullFrame/2), // the kernel doubles it
		}
	default:
		s.Buffer = present(fmt.Sprintf("A queue gets room for %d full frames.", s.MaxQueueLen))
	}
}

// fullFrame is what a frame of 1500 bytes takes of a socket's buffer: see
// Config.ReadBuffer.
const fullFrame = 2304

// passesBy takes what passes queues by.
func passesBy(flowtables []string, err error) Feature {
	switch {
	case err != nil:
		return Feature{Detail: "nft's tables could not be read.", Err: err}
	case len(flowtables) > 0:
		return Feature{State: Limited,
			Detail: fmt.Sprintf("Flows that are offloaded to %s pass no rule any more, and so no queue.", strings.Join(flowtables, ", ")),
			Remedy: "Queue a flow before it is offloaded, and have its handler's mark decide whether it is.",
		}
	}
	return present("No flowtable has flows pass the queues by.")
}

func mayLoad(err error) Feature {
	switch {
	case err == nil:
		return present("This user may load eBPF programs.")
	case errors.Is(err, syscall.EPERM):
		return missing(err, "This user may not load eBPF programs.", "Be root outside of user namespaces, or settle flows by connection marks.")
	}
	return missing(err, "This kernel has no eBPF.", "Use a kernel with CONFIG_BPF_SYSCALL, or settle flows by connection marks.")
}

// triedRules takes what came of rules in a namespace of their own.
func (s *Support) triedRules(a *probe.Answers) {
	if a.NoNamespace != nil {
		for _, f := range []*Feature{&s.QueueRule, &s.QueueTarget, &s.Bridge, &s.Tracking, &s.Datagrams} {
			*f = Feature{Detail: "It takes a rule, and this user has no network namespace to try one in.", Err: a.NoNamespace}
		}
		return
	}
	tried := func(r probe.Rule, works, lacks string, module string) Feature {
		switch {
		case r.Err == nil:
			return present(works)
		case r.Lacks:
			return missing(r.Err, lacks, "Run "+moduleHint(module)+".")
		}
		return Feature{Detail: "It could not be tried.", Err: r.Err}
	}
	s.QueueRule = tried(a.QueueRule,
		"nft's own queue expression puts packets into queues.", "nft has no queue expression.", "nft_queue")
	s.QueueTarget = tried(a.QueueTarget,
		"The NFQUEUE target puts packets into queues.", "There is no NFQUEUE target.", "xt_NFQUEUE")
	bridge := "nf_tables_bridge"
	if s.QueueRule.State == Missing {
		bridge = "nft_queue"
	}
	s.Bridge = tried(a.Bridge,
		"Packets of a bridge can be queued.", "Packets of a bridge cannot be queued.", bridge)
	s.Tracking = tried(a.Tracking,
		"Rules know connections and their marks.", "Rules do not know connections.", "nft_ct")
	if s.Queues.State == Present {
		s.Datagrams = keptDatagrams(a.Datagrams, a.DatagramsErr)
	}
}

// keptDatagrams takes how many of two datagrams, sent as one, came to a queue.
func keptDatagrams(n int, err error) Feature {
	switch {
	case err != nil:
		return Feature{Detail: "Datagrams that the kernel cuts up could not be tried.", Err: err}
	case n < 2:
		return Feature{State: Limited,
			Detail: "UDP packets that GRO has put together are lost if they begin a connection (CVE-2026-45859).",
			Remedy: "Set Config.GSO, or use a kernel with the fix, or turn UDP GRO off: ethtool -K LINK rx-udp-gro-forwarding off rx-gro-list off.",
		}
	}
	return present("UDP packets that GRO has put together are queued whole.")
}

func present(detail string) Feature { return Feature{State: Present, Detail: detail} }

func missing(err error, detail, remedy string) Feature {
	return Feature{State: Missing, Detail: detail, Remedy: remedy, Err: err}
}
