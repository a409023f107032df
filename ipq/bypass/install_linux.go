package bypass

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/internal/nfttable"
	"github.com/goipq/goipq/ipq"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// conntrackPriority is where the kernel finds a packet's connection, at
// Prerouting and Output (NF_IP_PRI_CONNTRACK).
const conntrackPriority = -200

// A Ruleset is a table of rules that [Bypasser.Install] has made.
type Ruleset struct {
	table    *nfttable.Table
	hook     ipq.Hook
	bypasser *Bypasser
	tally    *tally   // nil but with EBPF
	before   Counters // of the tally, by former rules

	mu      sync.Mutex
	netns   *os.File // nil: the caller's
	idle    bool     // nothing acts any more on what is settled
	removed bool     // the table, too
}

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
// [UnavailableError] or, for a second ruleset at a time with [NFTSet], a [FieldError].
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
	if b.backend == NFTSet && b.sole.Swap(true) {
		return nil, errSole
	}
	set := &Ruleset{table: &nfttable.Table{Family: unix.NFPROTO_INET, Name: r.Table, Comment: tableComment}, hook: r.Hook, bypasser: b}
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
	if there, err := s.keeper().Exists(s.table); err != nil {
		return fmt.Errorf("bypass: install rules: %w", err)
	} else if there {
		return s.exists()
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
	if b.backend == NFTSet {
		if err := s.useSets(r, native); err != nil {
			return err
		}
	} else {
		s.table.Chains = b.chains(r, native, s.tally)
	}
	err = s.keeper().Make(s.table)
	runtime.KeepAlive(s.tally) // its descriptors are in the rules
	switch {
	case errors.Is(err, fs.ErrExist):
		return s.exists()
	case errors.Is(err, unix.ENOENT) && b.backend == ConnMark:
		return &UnavailableError{ConnMark: err}
	case b.backend == NFTSet && lacksSets(err):
		return &UnavailableError{NFTSet: err}
	case err != nil:
		return fmt.Errorf("bypass: install rules: %w", err)
	}
	return nil
}

// useSets makes the table that of NFTSet.
func (s *Ruleset) useSets(r Rules, native bool) error {
	cfg := &s.bypasser.cfg
	rules := setRules{room: uint32(2 * cfg.Size), accept: cfg.AcceptMark, refuse: cfg.DropMark, queue: r.queue().Expr(native)}
	rules.timeout, rules.idle = cfg.Limits.ofSets()
	if rules.idle > 0 {
		nft, err := connect(s.netns)
		if err == nil {
			err = nftexpr.Try(nft, nftexpr.Once(rules.idle/idleParts))
			runtime.KeepAlive(s)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("bypass: install rules: %w", err)
		}
		rules.once = err == nil
	}
	s.table.Sets = rules.sets()
	s.table.Chains = rules.chains(r, r.selections())
	return nil
}

// lacksSets reports whether the kernel has refused sets that rules add to, or what
// they are used by, for it does not know them.
func lacksSets(err error) bool {
	var refused *nftconn.Refused
	return errors.As(err, &refused) && refused.What == "NFTSet" &&
		(errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL))
}

// release gives up what is held for rules that are gone.
func (s *Ruleset) release() {
	if s.netns != nil {
		s.netns.Close()
	}
	if s.tally != nil {
		s.bypasser.table.objects.tallies.giveBack(s.tally)
	}
	s.bypasser.sole.Store(false)
}

// exists is the error for a table that is there.
func (s *Ruleset) exists() error {
	return fmt.Errorf("bypass: there is a table %v, of a program that runs or was killed: remove it "+
		"(nft delete table %v) or choose another Rules.Table: %w", s.table, s.table, fs.ErrExist)
}

// keeper returns what makes tables in the Ruleset's network namespace.
func (s *Ruleset) keeper() nfttable.Keeper {
	return nfttable.Keeper{
		Dial: func() (*nftconn.Conn, error) {
			if s.netns == nil {
				return nftconn.Dial(0)
			}
			defer runtime.KeepAlive(s)
			return nftconn.Dial(int(s.netns.Fd()))
		},
		Later: func(t *nfttable.Table, chains []string) {
			s.bypasser.cfg.Logger.Info("bypass: packets that wait in queues of these chains, if they queue any, are queued there a second time, since new chains come before them",
				"table", t.Name, "chains", strings.Join(chains, ", "))
		},
	}
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
	err := s.keeper().Remove(s.table)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		s.removed = true
		s.release()
	}
	if err != nil {
		return fmt.Errorf("bypass: remove rules: %w", err)
	}
	return nil
}

func (s *Ruleset) gone() error {
	return fmt.Errorf("table %v was removed: %w", s.table, unix.ENOENT)
}

// Counters returns what the rules have seen. When their table was removed, the
// error matches fs.ErrNotExist.
func (s *Ruleset) Counters() (RuleCounters, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed {
		return RuleCounters{}, fmt.Errorf("bypass: read counters: %w", s.gone())
	}
	sums, err := s.keeper().Counters(s.table, ruleCounters)
	if err != nil {
		return RuleCounters{}, fmt.Errorf("bypass: read counters: %w", err)
	}
	all := RuleCounters{Count(sums[countAccepted]), Count(sums[countDropped]), Count(sums[countQueued]), Count(sums[countNoRoom])}
	if s.tally != nil { // its programs have counted what they have decided
		var c Counters
		c, err = s.tally.count()
		all.Accepted = Count{c.AcceptedPackets - s.before.AcceptedPackets, c.AcceptedBytes - s.before.AcceptedBytes}
		all.Dropped = Count{c.DroppedPackets - s.before.DroppedPackets, c.DroppedBytes - s.before.DroppedBytes}
	}
	return all, err
}
