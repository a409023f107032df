package netlab

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/internal/nfttable"
)

// tables numbers the tables of this process; its id keeps them apart from those
// of others in the same namespace.
var tables atomic.Uint64

// A Ruleset is a table of rules that InstallQueue, InstallCounter or
// InstallDrop has put into a namespace. It goes when it is removed or its
// namespace goes.
type Ruleset struct {
	ns     *NS
	table  *nfttable.Table
	rules  int  // as the caller counts them
	target bool // the queue rules are NFQUEUE targets
}

// UsesTarget reports whether the queue rules run the NFQUEUE target of
// xtables, because this kernel has no queue expression of nft's own.
func (r *Ruleset) UsesTarget() bool { return r.target }

// InstallQueue installs all the rules in one transaction: a table of family
// inet with one base chain for each hook and priority, policy accept, its rules
// in the order given. Without nft's queue expression in the kernel they run the
// NFQUEUE target, and the Ruleset's UsesTarget says so.
//
// A packet that is queued and accepted goes on at the next chain, not at the
// next rule. Install before a listener binds: a chain added at an earlier
// priority while packets wait there makes the kernel queue those again.
func (n *NS) InstallQueue(rules ...Rule) (*Ruleset, error) {
	native, err := n.probeQueue()
	if err != nil {
		return nil, err
	}
	specs := make([]spec, len(rules))
	for i, r := range rules {
		queue, err := r.queue()
		if err != nil {
			return nil, err
		}
		specs[i] = spec{r.Hook, r.Priority, r.Match, []expr.Any{queue.Expr(native)}}
	}
	set, err := n.install(specs)
	if err != nil {
		return nil, err
	}
	set.target = !native
	return set, nil
}

// InstallCounter installs a chain that counts, for each Match apart, the
// packets that pass the hook at this priority, and lets them go on. At a later
// hook or a higher priority than a queue's, it counts what was accepted there.
// Without a Match it counts every packet.
func (n *NS) InstallCounter(hook Hook, priority int32, matches ...Match) (*Ruleset, error) {
	return n.observe(hook, priority, matches, nil)
}

// InstallDrop is like InstallCounter, but drops what it has counted, so that a
// packet counts for the first Match that selects it.
func (n *NS) InstallDrop(hook Hook, priority int32, matches ...Match) (*Ruleset, error) {
	return n.observe(hook, priority, matches, []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}})
}

func (n *NS) observe(hook Hook, priority int32, matches []Match, action []expr.Any) (*Ruleset, error) {
	if len(matches) == 0 {
		matches = []Match{{}}
	}
	specs := make([]spec, len(matches))
	for i, m := range matches {
		specs[i] = spec{hook, priority, m, action}
	}
	return n.install(specs)
}

// A spec is a rule of any kind: count what matches, then act if there is an
// action.
type spec struct {
	hook     Hook
	priority int32
	match    Match
	action   []expr.Any
}

func (n *NS) install(specs []spec) (*Ruleset, error) {
	if len(specs) == 0 {
		return nil, invalid("none given")
	}
	set := &Ruleset{ns: n, rules: len(specs), table: &nfttable.Table{
		Family: unix.NFPROTO_INET, Name: fmt.Sprintf("goipq_lab_%d_%d", os.Getpid(), tables.Add(1)), Comment: "goipq lab",
	}}
	for i, s := range specs {
		if s.hook < Prerouting || s.hook > Postrouting {
			return nil, invalid("no %v", s.hook)
		}
		matches, err := s.match.expand()
		if err != nil {
			return nil, err
		}
		c := set.chain(s.hook, s.priority)
		for _, conditions := range matches {
			c.Rules = append(c.Rules, nfttable.Rule{
				What:    fmt.Sprintf("rule %d", i),
				Exprs:   slices.Concat(slices.Concat(conditions...), []expr.Any{&expr.Counter{}}, s.action),
				Counter: i,
			})
		}
	}
	if err := set.keeper().Make(set.table); err != nil {
		return nil, fmt.Errorf("netlab: install rules: %w", err)
	}
	return set, nil
}

// chain returns the chain at the hook and priority.
func (r *Ruleset) chain(hook Hook, priority int32) *nfttable.Chain {
	at := func(c nfttable.Chain) bool { return c.Hook == uint32(hook) && c.Priority == priority }
	i := slices.IndexFunc(r.table.Chains, at)
	if i < 0 {
		i = len(r.table.Chains)
		name := fmt.Sprintf("%v_%d", hook, priority)
		r.table.Chains = append(r.table.Chains, nfttable.Chain{Name: name, What: name, Base: true, Hook: uint32(hook), Priority: priority})
	}
	return &r.table.Chains[i]
}

// keeper returns what makes tables in the namespace.
func (r *Ruleset) keeper() nfttable.Keeper {
	return nfttable.Keeper{Dial: func() (conn *nftconn.Conn, err error) {
		err = r.ns.Do(func() (err error) {
			conn, err = nftconn.Dial(0)
			return err
		})
		return conn, err
	}}
}

// Remove deletes the table. The kernel drops every packet that waits in any
// queue of the namespace when a chain leaves its hook, whichever rule queued
// it, so decide them first.
func (r *Ruleset) Remove() error {
	if err := r.keeper().Remove(r.table); err != nil {
		return fmt.Errorf("netlab: remove rules: %w", err)
	}
	return nil
}

// Counters returns what each rule has seen, in the order of the rules or
// matches that were installed. A queue rule counts before it queues, so packets
// that the queue then drops are included, and a packet that is repeated counts
// again.
func (r *Ruleset) Counters() ([]Counter, error) {
	sums, err := r.keeper().Counters(r.table, r.rules)
	if err != nil {
		return nil, fmt.Errorf("netlab: read counters: %w", err)
	}
	counters := make([]Counter, len(sums))
	for i, sum := range sums {
		counters[i] = Counter(sum)
	}
	return counters, nil
}
