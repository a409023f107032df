package ipq

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/nftexpr"
)

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
	s := Support{Kernel: release()}
	here, err := nfsock.Probe()
	if err != nil {
		return s, fmt.Errorf("ipq: probe: %w", err)
	}
	s.askedHere(here)
	s.flowtables()
	s.EBPF = mayLoad(nfsock.ProbeEBPF())
	s.privately()
	return s, nil
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// askedHere takes what the kernel answers in this namespace.
func (s *Support) askedHere(here nfsock.Answers) {
	switch {
	case here.Errno == unix.EPERM:
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
			*f = missing(unix.EOPNOTSUPP, fmt.Sprintf("This kernel does not take Config.%s.", c.name), "Leave it unset, or use "+c.since+".")
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

// flowtables looks for what passes queues by.
func (s *Support) flowtables() {
	var found []string
	err := func() error {
		nft, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := nft.ListTables()
		for _, t := range tables {
			if t.Family == nftables.TableFamilyBridge || err != nil {
				continue
			}
			var ft []*nftables.Flowtable
			if ft, err = nft.ListFlowtables(t); errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
				return nil // this kernel has none
			}
			for _, f := range ft {
				found = append(found, t.Name+" "+f.Name)
			}
		}
		return err
	}()
	switch {
	case err != nil:
		s.Offload = Feature{Detail: "nft's tables could not be read.", Err: err}
	case len(found) > 0:
		s.Offload = Feature{State: Limited,
			Detail: fmt.Sprintf("Flows that are offloaded to %s pass no rule any more, and so no queue.", strings.Join(found, ", ")),
			Remedy: "Queue a flow before it is offloaded, and have its handler's mark decide whether it is.",
		}
	default:
		s.Offload = present("No flowtable has flows pass the queues by.")
	}
}

func mayLoad(err error) Feature {
	switch {
	case err == nil:
		return present("This user may load eBPF programs.")
	case errors.Is(err, unix.EPERM):
		return missing(err, "This user may not load eBPF programs.", "Be root outside of user namespaces, or settle flows by connection marks.")
	}
	return missing(err, "This kernel has no eBPF.", "Use a kernel with CONFIG_BPF_SYSCALL, or settle flows by connection marks.")
}

// privately tries rules in a namespace of its own.
func (s *Support) privately() {
	err := netns.Private(func() error {
		nft, err := nftables.New()
		if err != nil {
			return err
		}
		try := func(f *Feature, family nftables.TableFamily, e expr.Any, works, lacks string, module string) {
			switch err := nftexpr.TryIn(nft, family, e); {
			case err == nil:
				*f = present(works)
			case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
				*f = missing(err, lacks, "Run "+moduleHint(module)+".")
			default:
				f.Detail, f.Err = "It could not be tried.", err
			}
		}
		q := nftexpr.Queue{Count: 1}
		try(&s.QueueRule, nftables.TableFamilyIPv4, q.Expr(true),
			"nft's own queue expression puts packets into queues.", "nft has no queue expression.", "nft_queue")
		try(&s.QueueTarget, nftables.TableFamilyIPv4, q.Expr(false),
			"The NFQUEUE target puts packets into queues.", "There is no NFQUEUE target.", "xt_NFQUEUE")
		bridge := "nf_tables_bridge"
		if s.QueueRule.State == Missing {
			bridge = "nft_queue"
		}
		try(&s.Bridge, nftables.TableFamilyBridge, q.Expr(true),
			"Packets of a bridge can be queued.", "Packets of a bridge cannot be queued.", bridge)
		try(&s.Tracking, nftables.TableFamilyIPv4, &expr.Ct{Key: expr.CtKeyMARK, Register: 1},
			"Rules know connections and their marks.", "Rules do not know connections.", "nft_ct")
		if s.Queues.State == Present {
			s.Datagrams = tryDatagrams(nft, s.QueueRule.State == Present)
		}
		return nil
	})
	if err != nil {
		for _, f := range []*Feature{&s.QueueRule, &s.QueueTarget, &s.Bridge, &s.Tracking, &s.Datagrams} {
			*f = Feature{Detail: "It takes a rule, and this user has no network namespace to try one in.", Err: err}
		}
	}
}
