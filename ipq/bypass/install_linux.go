package bypass

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/internal/nftexpr"
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
// chains that go make it drop them. It needs CAP_NET_ADMIN over the namespace
// and, for a second ruleset of one Bypasser with EBPF or for one beside pinned
// programs, what [New] needs: the programs are loaded once more, to count by
// themselves.
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
	set := &Ruleset{name: r.Table, hook: r.Hook, bypasser: b}
	if err := set.install(r); err != nil {
		set.release()
		return nil, err
	}
	b.rules[r.Hook].Add(1)
	return set, nil
}

func (s *Ruleset) install(r Rules) error {
	b := s.bypasser
	if b.netns != nil {
		var err error
		if s.netns, err = netns.Dup(int(b.netns.Fd())); err != nil {
			return fmt.Errorf("bypass: install rules: %w", err)
		}
	}
	if err := s.absent(); err != nil {
		return err
	}
	native, err := s.probe()
	if err != nil {
		return err
	}
	if b.backend == EBPF {
		if s.tally, err = b.table.objects.tallies.borrow(); err != nil {
			return &UnavailableError{EBPF: err}
		}
		if s.before, err = s.tally.count(); err != nil {
			return err
		}
	}
	err = s.transact(func(nft *nftables.Conn, table *nftables.Table) {
		b.add(nft, table, r, native, s.tally)
	})
	switch {
	case errors.Is(err, unix.ENOENT) && b.backend == ConnMark:
		return &UnavailableError{ConnMark: err}
	case err != nil:
		return fmt.Errorf("bypass: install rules: %w", err)
	}
	return nil
}

// release gives up what is held for rules that are gone.
func (s *Ruleset) release() {
	if s.netns != nil {
		s.netns.Close()
	}
	if s.tally != nil {
		s.bypasser.table.objects.tallies.giveBack(s.tally)
	}
}

// absent returns an error if the table exists. A transaction that fails because
// it does may have added chains before it is undone.
func (s *Ruleset) absent() error {
	nft, err := connect(s.netns)
	if err != nil {
		return fmt.Errorf("bypass: install rules: %w", err)
	}
	tables, err := nft.ListTablesOfFamily(nftables.TableFamilyINet)
	runtime.KeepAlive(s)
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

// lacksMatch returns an error if the kernel has no match of that name, and nil
// when it cannot be asked.
func lacksMatch(ns *os.File, p *ebpf.Program, name string) error {
	nft, err := connect(ns)
	if err != nil {
		return nil
	}
	err = nftexpr.Try(nft, program(p, name))
	runtime.KeepAlive(ns)
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("nft's match %q revision 1: %w", name, err)
	}
	return nil
}

// probe reports whether the kernel has nft's own queue expression, and returns
// an error if it lacks what the rules need.
func (s *Ruleset) probe() (native bool, err error) {
	if b := s.bypasser; b.backend == EBPF {
		if err := lacksMatch(s.netns, b.table.objects.accept, xtBPF); err != nil {
			return false, &UnavailableError{EBPF: err}
		}
	}
	nft, err := connect(s.netns)
	if err == nil {
		native, err = nftexpr.ProbeQueue(nft)
		runtime.KeepAlive(s)
	}
	if err != nil {
		return false, fmt.Errorf("bypass: install rules: %w", err)
	}
	return native, nil
}

// add adds the chains and rules of a table, which count by the tally.
func (b *Bypasser) add(nft *nftables.Conn, table *nftables.Table, r Rules, native bool, t *tally) {
	base := nft.AddChain(r.chain(table, chainBase, r.Priority))
	decide := nft.AddChain(&nftables.Chain{Name: chainDecide, Table: table})
	rule := func(chain *nftables.Chain, parts ...[]expr.Any) { nft.AddRule(nftexpr.Rule(chain, parts...)) }
	one := func(e ...expr.Any) []expr.Any { return e }
	accept, drop := &expr.Verdict{Kind: expr.VerdictAccept}, &expr.Verdict{Kind: expr.VerdictDrop}
	queue := r.queue().Expr(native)
	var selected [][]nftexpr.Condition
	for _, m := range r.Match {
		selected = append(selected, m.expand()...)
	}
	if b.backend == EBPF { // first: each rule on the way to it costs every packet
		accepts := one(program(t.accept, xtBPF), accept)
		if len(selected) == 1 { // packets that are not selected are asked no more than once
			for _, condition := range selected[0] {
				rule(base, condition.Not(), one(accept))
			}
			rule(base, accepts)
		} else {
			for _, conditions := range selected {
				rule(base, slices.Concat(conditions...), accepts)
			}
		}
	}
	for _, conditions := range selected {
		rule(base, slices.Concat(conditions...), one(&expr.Verdict{Kind: expr.VerdictGoto, Chain: chainDecide}))
	}
	if b.backend == EBPF { // the programs count
		rule(decide, one(program(t.drop, xtBPF), drop))
		rule(decide, one(&expr.Counter{}, queue))
		return
	}
	a, d := b.cfg.AcceptMark, b.cfg.DropMark
	packet, conn := nftexpr.PacketMark, nftexpr.ConnMark
	rule(decide, conn.Is(a, a), one(&expr.Counter{}, accept))
	rule(decide, conn.Is(d, d), one(&expr.Counter{}, drop))
	rule(decide, one(&expr.Counter{}, queue))
	// An accepted packet goes on here, never at the next rule of its chain.
	settle := nft.AddChain(r.chain(table, chainSettle, r.Priority+1))
	rule(settle, packet.Is(d, d), conn.Set(d, a|d), one(drop))
	rule(settle, packet.Is(a, a), conn.Set(a, a|d), packet.Set(0, a))
}

// chain returns a chain at the hook.
func (r Rules) chain(table *nftables.Table, name string, priority int32) *nftables.Chain {
	return nftexpr.BaseChain(table, name, nftables.ChainHook(r.Hook), nftables.ChainPriority(priority))
}

// transact makes the table, has more added, and commits it all.
func (s *Ruleset) transact(add func(*nftables.Conn, *nftables.Table)) error {
	return s.commit(func(nft *nftables.Conn) { add(nft, nft.CreateTable(s.nft())) })
}

func (s *Ruleset) commit(add func(*nftables.Conn)) error {
	nft, err := connect(s.netns)
	if err != nil {
		return err
	}
	add(nft)
	err = nft.Flush()
	runtime.KeepAlive(s)
	return err
}

func (s *Ruleset) nft() *nftables.Table {
	return &nftables.Table{Name: s.name, Family: nftables.TableFamilyINet}
}

// connect returns a connection to a namespace, or to the caller's for nil. Each
// of its calls dials anew: ns must live as long.
func connect(ns *os.File) (*nftables.Conn, error) {
	if ns == nil {
		return nftables.New()
	}
	return nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
}

// Remove deletes the table. The kernel drops every packet that waits in any
// queue of the namespace when a chain leaves its hook, so decide them first:
// remove the rules when Run has returned. When the table is gone already, the
// error matches fs.ErrNotExist.
func (s *Ruleset) Remove() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.idle { // before: nothing is settled that no rule acts on
		s.idle = true
		s.bypasser.rules[s.hook].Add(-1)
	}
	if s.removed {
		return fmt.Errorf("bypass: remove rules: %w", s.gone())
	}
	err := s.commit(func(nft *nftables.Conn) { nft.DelTable(s.nft()) })
	if err == nil || errors.Is(err, unix.ENOENT) {
		s.removed = true
		s.release()
	}
	if err != nil {
		return fmt.Errorf("bypass: remove rules: %w", err)
	}
	return nil
}

func (s *Ruleset) gone() error {
	return fmt.Errorf("table inet %s was removed: %w", s.name, unix.ENOENT)
}

// Counters returns what the rules have seen. When their table was removed, the
// error matches fs.ErrNotExist.
func (s *Ruleset) Counters() (RuleCounters, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts, err := s.counts()
	if err != nil {
		return RuleCounters{}, fmt.Errorf("bypass: read counters: %w", err)
	}
	switch {
	case s.tally == nil && len(counts) == 3: // ConnMark
		return RuleCounters{counts[0], counts[1], counts[2]}, nil
	case s.tally == nil || len(counts) != 1:
		return RuleCounters{}, fmt.Errorf("bypass: read counters: somebody has changed the rules of table inet %s", s.name)
	}
	c, err := s.tally.count()
	return RuleCounters{
		Count{c.AcceptedPackets - s.before.AcceptedPackets, c.AcceptedBytes - s.before.AcceptedBytes},
		Count{c.DroppedPackets - s.before.DroppedPackets, c.DroppedBytes - s.before.DroppedBytes},
		counts[0],
	}, err
}

// counts returns what the kernel's rules have counted themselves, the queueing
// one last.
func (s *Ruleset) counts() (counts []Count, err error) {
	if s.removed {
		return nil, s.gone()
	}
	nft, err := connect(s.netns)
	if err != nil {
		return nil, err
	}
	seen, err := nftexpr.Counters(nft, &nftables.Chain{Name: chainDecide, Table: s.nft()})
	runtime.KeepAlive(s)
	for _, c := range seen {
		counts = append(counts, Count{c.Packets, c.Bytes})
	}
	return counts, err
}
