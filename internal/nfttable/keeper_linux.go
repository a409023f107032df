package nfttable

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/nftconn"
)

// A Keeper makes and changes tables in a network namespace.
type Keeper struct {
	// Dial opens a socket in the namespace.
	Dial func() (*nftconn.Conn, error)
	// Later, unless it is nil, is told when a table's new base chains come before
	// these of others, as the kernel has them: packets that wait in their queues are
	// queued there a second time.
	Later func(t *Table, chains []string)
}

// Apply makes the table what it says, and reports whether it was not. Nothing is
// changed after an error: one that matches fs.ErrExist if there is a table of that
// name without the comment, [nftconn.ErrChanged] if others change the rules all the
// time, a [nftconn.Refused], or unix.EMSGSIZE for more than fits into a message.
//
// Sets of intervals, and all sets if they make a message too large, are filled before
// the transaction that has rules for them.
func (k Keeper) Apply(t *Table) (changed bool, err error) { return k.apply(t, false) }

// Make is Apply for a table that must not be there: else the error matches fs.ErrExist.
func (k Keeper) Make(t *Table) error {
	_, err := k.apply(t, true)
	return err
}

// Exists reports whether there is a table of that name, whoever's it is.
func (k Keeper) Exists(t *Table) (bool, error) {
	conn, err := k.Dial()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	_, err = conn.Table(t.Family, t.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Remove deletes the table. The kernel then drops all packets that wait in queues of
// the namespace. If there is none the error matches fs.ErrNotExist, if it is somebody
// else's fs.ErrExist.
func (k Keeper) Remove(t *Table) error {
	return k.retry(func(conn *nftconn.Conn, generation uint32) error {
		if _, err := ours(conn, t); err != nil {
			return err
		}
		b := nftconn.NewBatch(t.Family, t.Name)
		b.DeleteTable()
		return conn.Commit(b, generation)
	})
}

// A Counter is a number of packets, and of their bytes.
type Counter struct{ Packets, Bytes uint64 }

// ErrTampered is returned for a table in which there are other rules than it says.
var ErrTampered = errors.New("somebody has changed it")

// Counters returns the counters from 0 to n-1 of a table that this process has made.
// Each is the sum over the rules that are a part of it. If the table is gone the error
// matches fs.ErrNotExist, if somebody has changed what counts [ErrTampered].
func (k Keeper) Counters(t *Table, n int) ([]Counter, error) {
	conn, err := k.Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	now, err := look(conn, t)
	if err != nil {
		return nil, err
	}
	sums := make([]Counter, n)
	for _, c := range t.Chains {
		there := now.rules[c.Name]
		if len(there) != len(c.Rules) && !t.lasts(c.Name) {
			return nil, fmt.Errorf("chain %s of table %v: %w", c.Name, t, ErrTampered)
		}
		for i := range c.Rules {
			rule := &c.Rules[i]
			if rule.Counter == Uncounted {
				continue
			}
			if i >= len(there) || !rule.is(there[i]) {
				return nil, fmt.Errorf("chain %s of table %v: %w", c.Name, t, ErrTampered)
			}
			sums[rule.Counter].Packets += there[i].Packets
			sums[rule.Counter].Bytes += there[i].Bytes
		}
	}
	return sums, nil
}

// attempts bounds how often a transaction is made up anew because others change
// the rules meanwhile. The pauses between them add up to some three seconds.
const attempts = 80

// retry calls transact until nobody has changed the rules meanwhile.
func (k Keeper) retry(transact func(*nftconn.Conn, uint32) error) error {
	conn, err := k.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	for attempt := range attempts {
		var generation uint32
		if generation, err = conn.Generation(); err != nil {
			return err
		}
		if err = transact(conn, generation); !errors.Is(err, nftconn.ErrChanged) {
			return err
		}
		time.Sleep(time.Duration(attempt) * time.Millisecond)
	}
	return err
}

// present is what there is of a table.
type present struct {
	table   bool
	dormant bool // the table's chains are switched off
	chains  map[string]nftconn.Chain
	rules   map[string][]nftconn.Rule // by chain
	sets    []string
}

// ours returns the table that is there. If there is none the error matches
// fs.ErrNotExist, if it is somebody else's fs.ErrExist.
func ours(conn *nftconn.Conn, t *Table) (nftconn.Table, error) {
	table, err := conn.Table(t.Family, t.Name)
	switch {
	case err != nil:
		return table, err
	case table.Comment != t.Comment:
		return table, fmt.Errorf("it is there, and without the comment %q that ours has: choose another name, "+
			"or remove it (nft delete table %v): %w", t.Comment, t, fs.ErrExist)
	}
	return table, nil
}

// look reads what there is of the table. If there is nothing the error matches
// fs.ErrNotExist.
func look(conn *nftconn.Conn, t *Table) (now present, err error) {
	table, err := ours(conn, t)
	if err != nil {
		return now, err
	}
	now.table, now.dormant = true, table.Dormant
	chains, err := conn.Chains(t.Family)
	if err != nil {
		return now, err
	}
	now.chains = map[string]nftconn.Chain{}
	for _, c := range chains {
		if c.Table == t.Name {
			now.chains[c.Name] = c
		}
	}
	rules, err := conn.Rules(t.Family, t.Name)
	if err != nil {
		return now, err
	}
	now.rules = map[string][]nftconn.Rule{}
	for _, rule := range rules {
		now.rules[rule.Chain] = append(now.rules[rule.Chain], rule)
	}
	now.sets, err = conn.Sets(t.Family, t.Name)
	return now, err
}

// later returns others' chains that come behind new ones of ours.
func later(conn *nftconn.Conn, t *Table, bases []Chain) (names []string, err error) {
	families := []uint8{t.Family}
	if t.Family == unix.NFPROTO_INET {
		families = []uint8{unix.NFPROTO_INET, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}
	}
	chains, err := conn.Chains(unix.AF_UNSPEC)
	for _, there := range chains {
		behind := func(c Chain) bool { return c.Hook == there.Hook && c.Priority <= there.Priority }
		switch {
		case !there.Base || !slices.Contains(families, there.Family):
		case there.Family == t.Family && there.Table == t.Name:
		case slices.ContainsFunc(bases, behind):
			names = append(names, fmt.Sprintf("%s %s %s", familyName(there.Family), there.Table, there.Name))
		}
	}
	return names, err
}
