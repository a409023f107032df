package probe

import (
	"errors"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/nftexpr"
)

// Ask asks the kernel. The error is that there is no netfilter to ask.
func Ask() (Answers, error) {
	a := Answers{Kernel: release()}
	var err error
	if a.Queues, err = nfsock.Probe(); err != nil {
		return a, err
	}
	a.Flowtables, a.FlowtablesErr = flowtables()
	a.EBPF = nfsock.ProbeEBPF()
	a.NoNamespace = netns.Private(a.tryRules)
	return a, nil
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// flowtables looks for what passes queues by.
func flowtables() (found []string, err error) {
	nft, err := nftables.New()
	if err != nil {
		return nil, err
	}
	tables, err := nft.ListTables()
	for _, t := range tables {
		if t.Family == nftables.TableFamilyBridge || err != nil {
			continue
		}
		var ft []*nftables.Flowtable
		if ft, err = nft.ListFlowtables(t); errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
			return found, nil // this kernel has none
		}
		for _, f := range ft {
			found = append(found, t.Name+" "+f.Name)
		}
	}
	return found, err
}

// tryRules tries rules in a network namespace that nobody else has.
func (a *Answers) tryRules() error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	try := func(family nftables.TableFamily, e expr.Any) Rule {
		err := nftexpr.TryIn(nft, family, e)
		lacks := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)
		return Rule{Lacks: lacks, Err: err}
	}
	q := nftexpr.Queue{Count: 1}
	a.QueueRule = try(nftables.TableFamilyIPv4, q.Expr(true))
	a.QueueTarget = try(nftables.TableFamilyIPv4, q.Expr(false))
	a.Bridge = try(nftables.TableFamilyBridge, q.Expr(true))
	a.Tracking = try(nftables.TableFamilyIPv4, &expr.Ct{Key: expr.CtKeyMARK, Register: 1})
	if a.Queues.Errno == 0 {
		a.Datagrams, a.DatagramsErr = queuedDatagrams(nft, a.QueueRule.Err == nil, 0)
	}
	return nil
}
