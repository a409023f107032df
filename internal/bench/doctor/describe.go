package doctor

import (
	"errors"
	"fmt"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/bypass"
)

func describeCPUs(n int) Finding {
	f := Finding{topic: "CPUs", state: isFine}
	f.text = fmt.Sprintf("%d CPUs may be used: the load and goipq have CPUs of their own.", n)
	if n == 1 {
		f.state, f.text = isLimited, "One CPU may be used: a load and goipq take turns on it."
		f.change = "Measure with two CPUs or more, so that the load costs goipq nothing."
	}
	return f
}

func describeUser(root bool) Finding {
	if root {
		return Finding{topic: "user", state: isFine, text: "Root's rights: goipq may serve the machine's own queues."}
	}
	return Finding{
		topic: "user", state: isLimited,
		text:   "An ordinary user: goipq serves queues in private namespaces only.",
		change: "For the machine's queues be root, or setcap cap_net_admin+ep the program.",
	}
}

// describeNamespaces tells whether ordinary users may have namespaces. Root has
// one by now.
func describeNamespaces(root bool, err error) Finding {
	f := Finding{topic: "namespaces", state: isFine, text: "Ordinary users may make user and network namespaces."}
	switch {
	case err != nil:
		f.state, f.text = isLimited, "Only root may make private namespaces."
		f.change = fmt.Sprintf("An ordinary user is told: %v.", err)
	case !root:
		f.text = "This user may make user and network namespaces."
	}
	return f
}

func describeRule(native, target bool) Finding {
	f := Finding{topic: "queue rule", state: isFine, vital: true}
	switch {
	case native:
		f.text = "nft's own queue expression puts packets into queues."
	case target:
		f.text = "The NFQUEUE target puts packets into queues; nft has no queue expression."
	default:
		f.state, f.text = isMissing, "This kernel has no rule that puts packets into queues."
		f.change = "Build it with CONFIG_NFT_QUEUE, or with NETFILTER_XT_TARGET_NFQUEUE."
	}
	return f
}

// describePackets tells whether a queued packet was decided and arrived. A
// machine without IPv6 still has IPv4.
func describePackets(ipv6 bool, err error) Finding {
	f := Finding{topic: "IPv4", state: isFine, vital: !ipv6}
	if ipv6 {
		f.topic = "IPv6"
	}
	f.text = "A packet was queued, received, accepted, and arrived."
	if err != nil {
		f.state, f.text = isMissing, fmt.Sprintf("No packet could be queued and accepted: %v.", err)
	}
	return f
}

// A sighting is what the kernel sent with a packet.
type sighting struct {
	uid, context bool
}

// A queueFlag is one of the flags that a queue may be bound with.
type queueFlag struct {
	field string // of ipq.Config
	set   func(*ipq.Config)
	gives string // what it does, as a sentence
	// came tells whether the packet brought what the flag asks for; nil if packets
	// bring nothing for it.
	came func(sighting) bool
	why  string // why nothing comes although the kernel takes the flag
	fix  string // a sentence: what to change about that
}

var queueFlags = []queueFlag{
	{
		field: "FailOpen", set: func(c *ipq.Config) { c.FailOpen = true },
		gives: "Packets can be accepted when the queue is full.",
	},
	{
		field: "GSO", set: func(c *ipq.Config) { c.GSO = true },
		gives: "TCP's super-packets can be queued whole.",
	},
	{
		field: "Conntrack", set: func(c *ipq.Config) { c.Conntrack = true },
		gives: "Packets can come with their connection.",
	},
	{
		field: "UIDGID", set: func(c *ipq.Config) { c.UIDGID = true },
		gives: "Packets made here come with their user and group.",
		came:  func(s sighting) bool { return s.uid }, why: "the packet came without them",
	},
	{
		field: "SecCtx", set: func(c *ipq.Config) { c.SecCtx = true },
		gives: "Packets made here come with their security context.",
		came:  func(s sighting) bool { return s.context }, why: "no module labels packets",
		fix: "Boot with SELinux or Smack to have them.",
	},
}

// describe says what the kernel answers to the flag, and what has come with a packet.
func (q *queueFlag) describe(f feature, got sighting) Finding {
	found := f.describe(q.field)
	switch {
	case f.State != ipq.Present:
	case q.came != nil && !q.came(got):
		found.state, found.change = isLimited, q.fix
		found.text = fmt.Sprintf("The kernel takes Config.%s, but %s.", q.field, q.why)
	default:
		found.text = q.gives
	}
	return found
}

// describeBypass tells whether this backend can settle flows in the kernel.
func describeBypass(backend bypass.Backend, root bool, err error) Finding {
	f := Finding{topic: "bypass, eBPF", state: isFine, text: "Flows can be settled in a table that eBPF programs consult."}
	needs := "Linux 5.10 or newer, with CONFIG_BPF_SYSCALL and NETFILTER_XT_MATCH_BPF."
	if backend == bypass.ConnMark {
		f.topic, f.text = "bypass, ct mark", "Flows can be settled by connection marks."
		needs = "Use a kernel with CONFIG_NF_CONNTRACK_MARK and CONFIG_NFT_CT."
	}
	var unavailable *bypass.UnavailableError
	switch {
	case err == nil:
	case !errors.As(err, &unavailable):
		f.state, f.text = isMissing, fmt.Sprintf("This way to settle flows does not work: %v.", err)
	case backend == bypass.EBPF && !root:
		f.state, f.text = isMissing, "This user may not load eBPF programs."
		f.change = "Be root outside of user namespaces, or settle flows by connection marks."
	default:
		cause := errors.Join(unavailable.EBPF, unavailable.ConnMark)
		f.state, f.text, f.change = isMissing, fmt.Sprintf("This way to settle flows does not work: %v.", cause), needs
	}
	return f
}

func describeRoute(err error) Finding {
	f := Finding{topic: "routed network", state: isFine, text: "Links and forwarding work: -scenario forward and churn can run."}
	if err != nil {
		f.state, f.text = isMissing, fmt.Sprintf("-scenario forward and churn cannot run: %v.", err)
		f.change = "Use a kernel with CONFIG_VETH."
	}
	return f
}
