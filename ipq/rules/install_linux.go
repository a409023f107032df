package rules

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/internal/nfttable"
	"github.com/goipq/goipq/ipq"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// comment is what the tables of this package carry, and no others.
const comment = "goipq"

// A Ruleset is a table that [Install] has made. Its methods may be called from
// any goroutine.
type Ruleset struct {
	log   *slog.Logger
	netns *os.File
	have  features

	mu      sync.Mutex
	table   *nfttable.Table // what should be there; nil once it is removed
	set     Set             // what it is made of, without Chains: they are the caller's
	queues  bool            // rules of the Set queue
	shape   []int           // how many rules each of its Chains has
	repairs uint64
}

// Install is [Config.Install] in the caller's network namespace, without notes.
func Install(s Set) (*Ruleset, error) { return Config{}.Install(s) }

// Install makes the table, with all that is in it, in one transaction, or changes
// the one of that name that an earlier run has left or another process has made:
// what is the same stays, and goes on counting. No packet that waits in a queue is
// lost by it; see the package for those that are queued twice.
//
// The error is a [FieldError], an [ipq.CapabilityError], or matches fs.ErrExist if
// there is a table of that name which is not of this package. Nothing was changed
// then. Sets of intervals (of networks, or ranges of ports) are filled in a transaction
// before, since the kernel finds what is in one only a moment after the transaction
// that made it; so are sets that do not fit into one message to the kernel, which
// net.core.wmem_max bounds for root of a user namespace. Nothing looks into them until
// the one transaction that has rules for them.
func (c Config) Install(s Set) (*Ruleset, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	r := &Ruleset{log: c.Logger}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if c.NetNS == 0 {
		r.netns, err = os.Open(netns.OfThread)
	} else {
		r.netns, err = netns.Dup(c.NetNS)
	}
	if err != nil {
		return nil, fmt.Errorf("rules: install: NetNS: %w", err)
	}
	if r.have, err = r.probe(s); err == nil {
		err = r.change(s)
	}
	if err != nil {
		r.netns.Close()
		return nil, err
	}
	return r, nil
}

// change makes the table what the Set says.
func (r *Ruleset) change(s Set) error {
	table := compile(s, r.have).table()
	if _, err := r.keeper().Apply(table); err != nil {
		return r.failed(s, err)
	}
	r.table, r.queues, r.shape = table, s.queues() != "", nil
	for _, c := range s.Chains {
		r.shape = append(r.shape, len(c.Rules))
	}
	s.Chains = nil
	r.set = s
	return nil
}

// keeper returns what makes tables in the Ruleset's network namespace.
func (r *Ruleset) keeper() nfttable.Keeper {
	return nfttable.Keeper{
		Dial: func() (*nftconn.Conn, error) {
			defer runtime.KeepAlive(r)
			return nftconn.Dial(int(r.netns.Fd()))
		},
		Later: func(t *nfttable.Table, chains []string) {
			r.log.Info("rules: packets that wait in queues of these chains, if they queue any, are queued there a second time, since new chains come before them",
				"table", t.Name, "chains", strings.Join(chains, ", "))
		},
	}
}

// probe finds out what the kernel has of what the Set takes.
func (r *Ruleset) probe(s Set) (have features, err error) {
	nft, err := nftables.New(nftables.WithNetNSFd(int(r.netns.Fd())))
	if err != nil {
		return have, r.failed(s, err)
	}
	defer runtime.KeepAlive(r)
	if have.queue, err = nftexpr.ProbeQueue(nft); err != nil {
		if !errors.Is(err, unix.ENOENT) {
			return have, r.failed(s, err)
		}
		if field := s.queues(); field != "" {
			return have, &FieldError{field, "the kernel cannot queue", err}
		}
	}
	if s.OwnMark != 0 && s.Family == Inet {
		err := nftexpr.Try(nft, nftexpr.SocketMark.Is(native(s.OwnMark))[0])
		have.socket = err == nil
		if err != nil {
			r.log.Info("rules: answers to the product's own traffic are queued: this kernel has no nft socket expression (CONFIG_NFT_SOCKET)", "err", err)
		}
	}
	return have, nil
}

// queues returns the first field that queues, "" for none.
func (s Set) queues() string {
	for i, c := range s.Chains {
		for j, r := range c.Rules {
			if r.Queue != nil {
				return fmt.Sprintf("Chains[%d].Rules[%d].Queue", i, j)
			}
		}
	}
	return ""
}

// Update changes the table to what another Set says, of the same Table and Family,
// in one transaction: each packet meets the former rules or the new ones, and none
// that waits in a queue is lost. Rules that are in both, in the same order, go on
// counting; one that changes, its addresses included, counts from zero. Chains that
// the new Set has no use for stay, without rules. When it returns, no packet is on its
// way through the former rules any more, for which it waits some tens of milliseconds.
// After an error all is as it was.
func (r *Ruleset) Update(s Set) error {
	if err := s.Check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.table == nil {
		return r.gone()
	}
	if now := r.set; s.Table != now.Table {
		return bad("Table", "%q: the Ruleset's is %q", s.Table, now.Table)
	} else if s.Family != now.Family {
		return bad("Family", "%v: the Ruleset's is %v", s.Family, now.Family)
	}
	if s.OwnMark != 0 && r.set.OwnMark == 0 || s.queues() != "" && !r.queues {
		have, err := r.probe(s)
		if err != nil {
			return err
		}
		r.have = have
	}
	return r.change(s)
}

// Remove deletes the table. The kernel then drops every packet that waits in any
// queue of the network namespace, another product's as well. So [Ruleset.Update] to
// a Set without rules first, which keeps more from being queued, and decide what
// waits. When the table is gone already, the error matches fs.ErrNotExist; a second
// Remove does, too.
func (r *Ruleset) Remove() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.table == nil {
		return r.gone()
	}
	table := r.table
	err := r.keeper().Remove(table)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		r.table = nil
		r.netns.Close()
	}
	if err != nil {
		return fmt.Errorf("rules: remove table %v: %w", table, err)
	}
	return nil
}

func (r *Ruleset) gone() error { return fmt.Errorf("rules: the table was removed: %w", fs.ErrNotExist) }

// A Counter is how many packets a rule has matched, and their bytes from the IP
// header on.
type Counter struct{ Packets, Bytes uint64 }

// Counters returns what each rule has matched, in the shape of the Set: [2][0] is
// that of Chains[2].Rules[0]. A packet that is queued is counted before, also if
// the queue is full and drops it, and once more if its verdict is Repeat. When the
// table is gone, or somebody has changed it, the error says so; it matches
// fs.ErrNotExist if it is gone.
func (r *Ruleset) Counters() ([][]Counter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.table == nil {
		return nil, r.gone()
	}
	rules := 0
	for _, n := range r.shape {
		rules += n
	}
	sums, err := r.keeper().Counters(r.table, rules)
	if err != nil {
		return nil, fmt.Errorf("rules: read counters: %w", err)
	}
	counters := make([][]Counter, len(r.shape))
	for i, n := range r.shape {
		counters[i] = make([]Counter, n)
		for j := range n {
			counters[i][j] = Counter(sums[j])
		}
		sums = sums[n:]
	}
	return counters, nil
}

// failed says what the kernel's answer means for a Set.
func (r *Ruleset) failed(s Set, err error) error {
	var refused *nftconn.Refused
	switch {
	case errors.As(err, &refused) && refused.What != "":
		reason := "the kernel refuses it"
		switch {
		case s.Family == Bridge && refused.Errno == unix.EPROTO:
			reason = "this kernel tracks no connections at a bridge (CONFIG_NF_CONNTRACK_BRIDGE, Linux 5.3)"
		case lacks(refused.Errno):
			reason = "this kernel has not all that it takes; see `ipq-bench doctor`"
		}
		return &FieldError{refused.What, reason, refused.Errno}
	case errors.Is(err, unix.EPERM):
		err = &ipq.CapabilityError{Capability: "CAP_NET_ADMIN", Err: unix.EPERM}
	case errors.Is(err, nftconn.ErrChanged):
		err = ErrChanged
	}
	return fmt.Errorf("rules: table %v %s: %w", s.Family, s.Table, err)
}
