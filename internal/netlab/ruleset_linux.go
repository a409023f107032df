package netlab

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/goipq/goipq/internal/nftexpr"
)

// tables numbers the tables of this process; its id keeps them apart from those
// of others in the same namespace.
var tables atomic.Uint64

func tableName() string {
	return fmt.Sprintf("goipq_lab_%d_%d", os.Getpid(), tables.Add(1))
}

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
	set := &Ruleset{ns: n, table: tableName(), rules: len(specs)}
	table := set.nftTable()
	nft, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("netlab: nftables: %w", err)
	}
	nft.CreateTable(table)
	for i, s := range specs {
		if s.hook < Prerouting || s.hook > Postrouting {
			return nil, invalid("no %v", s.hook)
		}
		matches, err := s.match.expand()
		if err != nil {
			return nil, err
		}
		c, isNew := set.chain(s.hook, s.priority)
		nftChain := c.nft(table)
		if isNew {
			nft.AddChain(nftChain)
		}
		for _, conditions := range matches {
			nft.AddRule(nftexpr.Rule(nftChain, slices.Concat(conditions...), []expr.Any{&expr.Counter{}}, s.action))
			c.owners = append(c.owners, i)
		}
	}
	if err := n.Do(nft.Flush); err != nil {
		return nil, fmt.Errorf("netlab: install rules: %w", err)
	}
	return set, nil
}

// chain returns the chain at the hook and priority, and whether it is new.
func (r *Ruleset) chain(hook Hook, priority int32) (c *chain, isNew bool) {
	at := func(c chain) bool { return c.hook == hook && c.priority == priority }
	i := slices.IndexFunc(r.chains, at)
	if i < 0 {
		i, isNew = len(r.chains), true
		r.chains = append(r.chains, chain{hook: hook, priority: priority})
	}
	return &r.chains[i], isNew
}

func (c *chain) nft(table *nftables.Table) *nftables.Chain {
	name := fmt.Sprintf("%v_%d", c.hook, c.priority)
	return nftexpr.BaseChain(table, name, nftables.ChainHook(c.hook), nftables.ChainPriority(c.priority))
}

func (r *Ruleset) nftTable() *nftables.Table {
	return &nftables.Table{Name: r.table, Family: nftables.TableFamilyINet}
}

// Remove deletes the table. The kernel drops every packet that waits in any
// queue of the namespace when a chain leaves its hook, whichever rule queued
// it, so decide them first.
func (r *Ruleset) Remove() error {
	nft, err := nftables.New()
	if err != nil {
		return fmt.Errorf("netlab: nftables: %w", err)
	}
	nft.DelTable(r.nftTable())
	if err := r.ns.Do(nft.Flush); err != nil {
		return fmt.Errorf("netlab: remove rules: %w", err)
	}
	return nil
}

// Counters returns what each rule has seen, in the order of the rules or
// matches that were installed. A queue rule counts before it queues, so packets
// that the queue then drops are included, and a packet that is repeated counts
// again.
func (r *Ruleset) Counters() ([]Counter, error) {
	sums := make([]Counter, r.rules)
	table := r.nftTable()
	err := r.ns.Do(func() error {
		nft, err := nftables.New()
		if err != nil {
			return err
		}
		for _, c := range r.chains {
			seen, err := nftexpr.Counters(nft, c.nft(table))
			if err != nil {
				return err
			}
			if len(seen) != len(c.owners) {
				return fmt.Errorf("table %s has %d rules at %v, not the %d installed", r.table, len(seen), c.hook, len(c.owners))
			}
			for i, owner := range c.owners {
				sums[owner].Packets += seen[i].Packets
				sums[owner].Bytes += seen[i].Bytes
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("netlab: read counters: %w", err)
	}
	return sums, nil
}
