package bypass

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"github.com/goipq/goipq/ipq"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// conntrackPriority is where the kernel finds a packet's connection, at
// Prerouting and Output (NF_IP_PRI_CONNTRACK).
const conntrackPriority = -200

// Install makes a table of rules, in one transaction: a chain at the hook whose
// selected packets are accepted if their flow is settled so, dropped if it is
// settled so, and queued otherwise. Accepted means for this chain; later ones
// see the packet. Install before the queue is opened: while packets wait in any
// queue of the namespace, new chains can make the kernel queue them again, and
// chains that go make it drop them. It needs CAP_NET_ADMIN over the namespace.
//
// The error matches [ErrConfig], or fs.ErrExist if the table exists, or is an
// [UnavailableError].
func (b *Bypasser) Install(r Rules) (*Ruleset, error) {
	if b.closed.Load() {
		return nil, ErrClosed
	}
	r, err := r.withDefaults()
	if err != nil {
		return nil, err
	}
	if b.backend == ConnMark && r.Priority <= conntrackPriority && (r.Hook == ipq.Prerouting || r.Hook == ipq.Output) {
		return nil, fmt.Errorf("%w: Rules.Priority %d: connection marks are known after %d only", ErrConfig, r.Priority, conntrackPriority)
	}
	set := &Ruleset{name: r.Table, netns: b.cfg.NetNS, hook: r.Hook, bypasser: b}
	if err := set.absent(); err != nil {
		return nil, err
	}
	own, err := b.probe(r)
	if err != nil {
		return nil, err
	}
	err = set.transact(func(nft *nftables.Conn, table *nftables.Table) {
		b.add(nft, table, r, own)
	})
	switch {
	case errors.Is(err, unix.ENOENT) && b.backend == ConnMark:
		return nil, &UnavailableError{ConnMark: err}
	case err != nil:
		return nil, fmt.Errorf("bypass: install rules: %w", err)
	}
	b.rules[r.Hook].Add(1)
	return set, nil
}

// absent returns an error if the table exists. A transaction that fails because
// it does may have added chains before it is undone.
func (s *Ruleset) absent() error {
	nft, err := s.conn()
	if err != nil {
		return fmt.Errorf("bypass: install rules: %w", err)
	}
	tables, err := nft.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("bypass: install rules: %w", err)
	}
	for _, table := range tables {
		if table.Name == s.name {
			return fmt.Errorf("bypass: there is a table inet %s, of a program that runs or was killed: remove it "+
				"(nft delete table inet %s) or choose another Rules.Table: %w", s.name, s.name, fs.ErrExist)
		}
	}
	return nil
}

// try has the kernel check an expression, and load the module that it takes. It
// uses a chain at no hook, in a table of this process that the same transaction
// removes: a failure with hooks would make the kernel drop all packets that wait
// in queues. The table is of family ip, since the kernel does not find xtables'
// modules for family inet.
func try(netns int, e expr.Any) error {
	probe := &Ruleset{name: fmt.Sprintf("goipq_bypass_probe_%d", os.Getpid()), netns: netns}
	return probe.commit(func(nft *nftables.Conn) {
		table := nft.CreateTable(&nftables.Table{Name: probe.name, Family: nftables.TableFamilyIPv4})
		chain := nft.AddChain(&nftables.Chain{Name: "probe", Table: table})
		nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{e}})
		nft.DelTable(table)
	})
}

// lacksMatch returns an error if the kernel has no match of that name, and nil
// when it cannot be asked.
func lacksMatch(netns int, p *ebpf.Program, name string) error {
	if err := try(netns, program(p, name)); errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("nft's match %q revision 1: %w", name, err)
	}
	return nil
}

// probe reports whether the kernel has nft's own queue expression, and returns
// an error if it lacks what EBPF needs.
func (b *Bypasser) probe(r Rules) (own bool, err error) {
	ns := b.cfg.NetNS
	if b.backend == EBPF {
		if err := lacksMatch(ns, b.table.objects.accept, xtBPF); err != nil {
			return false, &UnavailableError{EBPF: err}
		}
	}
	if err = try(ns, r.queue(true)); err == nil {
		return true, nil
	}
	if !errors.Is(err, unix.ENOENT) {
		return false, fmt.Errorf("bypass: install rules: %w", err)
	}
	if err := try(ns, r.queue(false)); err != nil {
		return false, fmt.Errorf("bypass: this kernel has neither nft's queue expression (CONFIG_NFT_QUEUE) nor the "+
			"NFQUEUE target (CONFIG_NFT_COMPAT with CONFIG_NETFILTER_XT_TARGET_NFQUEUE): %w", err)
	}
	return false, nil
}

// add adds the chains and rules of a table.
func (b *Bypasser) add(nft *nftables.Conn, table *nftables.Table, r Rules, own bool) {
	base := nft.AddChain(r.chain(table, chainBase, r.Priority))
	decide := nft.AddChain(&nftables.Chain{Name: chainDecide, Table: table})
	rule := func(chain *nftables.Chain, parts ...[]expr.Any) {
		var all []expr.Any
		for _, part := range parts {
			all = append(all, part...)
		}
		nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: all})
	}
	one := func(e ...expr.Any) []expr.Any { return e }
	accept, drop := &expr.Verdict{Kind: expr.VerdictAccept}, &expr.Verdict{Kind: expr.VerdictDrop}
	var selected [][]expr.Any
	for _, m := range r.Match {
		selected = append(selected, m.exprs()...)
	}
	if b.backend == EBPF { // first: each rule on the way to it costs every packet
		accepts := one(program(b.table.objects.accept, xtBPF), accept)
		if len(selected) == 1 { // packets that are not selected are asked no more than once
			for _, unlike := range negations(selected[0]) {
				rule(base, unlike, one(accept))
			}
			rule(base, accepts)
		} else {
			for _, conditions := range selected {
				rule(base, conditions, accepts)
			}
		}
	}
	for _, conditions := range selected {
		rule(base, conditions, one(&expr.Verdict{Kind: expr.VerdictGoto, Chain: chainDecide}))
	}
	if b.backend == EBPF { // the programs count
		rule(decide, one(program(b.table.objects.drop, xtBPF), drop))
		rule(decide, one(&expr.Counter{}, r.queue(own)))
		return
	}
	a, d := b.cfg.AcceptMark, b.cfg.DropMark
	rule(decide, has(loadConnMark(), a), one(&expr.Counter{}, accept))
	rule(decide, has(loadConnMark(), d), one(&expr.Counter{}, drop))
	rule(decide, one(&expr.Counter{}, r.queue(own)))
	// An accepted packet goes on here, never at the next rule of its chain.
	settle := nft.AddChain(r.chain(table, chainSettle, r.Priority+1))
	rule(settle, has(loadMark(), d), change(loadConnMark(), storeConnMark(), a, d), one(drop))
	rule(settle, has(loadMark(), a), change(loadConnMark(), storeConnMark(), d, a), change(loadMark(), storeMark(), a, 0))
}

func (r Rules) chain(table *nftables.Table, name string, priority int32) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return &nftables.Chain{
		Name: name, Table: table, Type: nftables.ChainTypeFilter, Policy: &accept,
		Hooknum:  nftables.ChainHookRef(nftables.ChainHook(r.Hook)),
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(priority)),
	}
}

// transact makes the table, has more added, and commits it all.
func (s *Ruleset) transact(add func(*nftables.Conn, *nftables.Table)) error {
	return s.commit(func(nft *nftables.Conn) { add(nft, nft.CreateTable(s.nft())) })
}

func (s *Ruleset) commit(add func(*nftables.Conn)) error {
	nft, err := s.conn()
	if err != nil {
		return err
	}
	add(nft)
	return nft.Flush()
}

func (s *Ruleset) conn() (*nftables.Conn, error) {
	if s.netns == 0 {
		return nftables.New()
	}
	return nftables.New(nftables.WithNetNSFd(s.netns))
}

func (s *Ruleset) nft() *nftables.Table {
	return &nftables.Table{Name: s.name, Family: nftables.TableFamilyINet}
}

// Remove deletes the table. The kernel drops every packet that waits in any
// queue of the namespace when a chain leaves its hook, so decide them first:
// remove the rules when Run has returned.
func (s *Ruleset) Remove() error {
	if !s.removed.Swap(true) { // before: nothing is settled that no rule acts on
		s.bypasser.rules[s.hook].Add(-1)
	}
	if err := s.commit(func(nft *nftables.Conn) { nft.DelTable(s.nft()) }); err != nil {
		return fmt.Errorf("bypass: remove rules: %w", err)
	}
	return nil
}

// Counters returns what the rules have seen.
func (s *Ruleset) Counters() (RuleCounters, error) {
	nft, err := s.conn()
	if err != nil {
		return RuleCounters{}, fmt.Errorf("bypass: read counters: %w", err)
	}
	rules, err := nft.GetRules(s.nft(), &nftables.Chain{Name: chainDecide, Table: s.nft()})
	if err != nil {
		return RuleCounters{}, fmt.Errorf("bypass: read counters: %w", err)
	}
	var counts []Count
	for _, rule := range rules {
		for _, e := range rule.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				counts = append(counts, Count{c.Packets, c.Bytes})
			}
		}
	}
	if len(counts) == 3 { // ConnMark
		return RuleCounters{counts[0], counts[1], counts[2]}, nil
	}
	if len(counts) != 1 {
		return RuleCounters{}, fmt.Errorf("bypass: read counters: somebody has changed the rules of table inet %s", s.name)
	}
	c, err := s.bypasser.table.Counters()
	return RuleCounters{Count{c.AcceptedPackets, c.AcceptedBytes}, Count{c.DroppedPackets, c.DroppedBytes}, counts[0]}, err
}
