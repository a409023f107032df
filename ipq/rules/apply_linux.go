package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/goipq/goipq/internal/nftconn"
	"golang.org/x/sys/unix"
)

// attempts bounds how often a transaction is made up anew because others change
// the rules meanwhile. The pauses between them add up to some three seconds.
const attempts = 80

func (r *Ruleset) dial() (*nftconn.Conn, error) {
	defer runtime.KeepAlive(r)
	return nftconn.Dial(int(r.netns.Fd()))
}

// retry calls transact until nobody has changed the rules meanwhile.
func (r *Ruleset) retry(transact func(*nftconn.Conn, uint32) error) error {
	conn, err := r.dial()
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

// apply makes the table what the program says, and reports whether it was not.
func (r *Ruleset) apply(p *program) (changed bool, err error) {
	staged := stage{program: p}
	err = r.retry(func(conn *nftconn.Conn, generation uint32) error {
		now, err := look(conn, p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		d, err := compareWith(conn, p, now)
		if err != nil {
			return err
		}
		if d.batch.Empty() {
			sweep(conn, p, d)
			return nil
		}
		if size := d.batch.Size(); len(d.intervals) > 0 || size > conn.MaxBatch(size) {
			first := d.intervals
			if first == nil {
				first = d.sets
			}
			if first == nil {
				return fmt.Errorf("the rules take %d bytes, and the kernel takes messages of %d from this user: make them fewer, "+
					"by lists of addresses, ports or links, or raise net.core.wmem_max: %w", size, conn.MaxBatch(size), unix.EMSGSIZE)
			}
			if err := staged.fill(conn, now, first, conn.MaxBatch(size)); err != nil {
				return err
			}
			return nftconn.ErrChanged // by us
		}
		if len(d.bases) > 0 {
			r.tellLater(conn, p, d.bases)
		}
		if err := conn.Commit(d.batch, generation); err != nil {
			return err
		}
		changed, staged.used = true, true
		sweep(conn, p, d)
		return nil
	})
	if err != nil {
		staged.undo(r)
		return false, r.failed(p.set, err)
	}
	return changed, nil
}

// present is what there is of a table.
type present struct {
	table   bool
	dormant bool // the table's chains are switched off
	chains  map[string]nftconn.Chain
	rules   map[string][]nftconn.Rule // by chain
	sets    []string
}

// ours returns the program's table. If there is none the error matches
// fs.ErrNotExist, if it is somebody else's fs.ErrExist.
func ours(conn *nftconn.Conn, p *program) (nftconn.Table, error) {
	table, err := conn.Table(p.family, p.set.Table)
	switch {
	case err != nil:
		return table, err
	case table.Comment != comment:
		return table, fmt.Errorf("it is there, and without the comment %q that those of this package have: choose another Table, "+
			"or remove it (nft delete table %v %s): %w", comment, p.set.Family, p.set.Table, fs.ErrExist)
	}
	return table, nil
}

// look reads what there is of the program's table. If there is nothing the error
// matches fs.ErrNotExist.
func look(conn *nftconn.Conn, p *program) (now present, err error) {
	table, err := ours(conn, p)
	if err != nil {
		return now, err
	}
	now.table, now.dormant = true, table.Dormant
	chains, err := conn.Chains(p.family)
	if err != nil {
		return now, err
	}
	now.chains = map[string]nftconn.Chain{}
	for _, c := range chains {
		if c.Table == p.set.Table {
			now.chains[c.Name] = c
		}
	}
	rules, err := conn.Rules(p.family, p.set.Table)
	if err != nil {
		return now, err
	}
	now.rules = map[string][]nftconn.Rule{}
	for _, rule := range rules {
		now.rules[rule.Chain] = append(now.rules[rule.Chain], rule)
	}
	now.sets, err = conn.Sets(p.family, p.set.Table)
	return now, err
}

// A difference is what makes a table what a program says.
type difference struct {
	batch     *nftconn.Batch
	sets      []kernelSet   // that it makes
	intervals []kernelSet   // those of them that need a transaction of their own
	bases     []kernelChain // that it makes
	maps      []string      // that nothing looks into then
	chains    []string      // that nothing leads to then
}

// is reports whether the rule is the one that is there.
func (r *kernelRule) is(there nftconn.Rule) bool {
	return bytes.Equal(nftconn.UserValue(there.UserData, identity), r.id[:])
}

func compareWith(conn *nftconn.Conn, p *program, now present) (d difference, err error) {
	b := nftconn.NewBatch(p.family, p.set.Table)
	d.batch = b
	if !now.table {
		b.AddTable(comment)
	} else if now.dormant {
		b.WakeTable()
	}
	// Rules that stay, by their places in the program.
	stay := map[string][]uint64{} // handles, 0 for a new rule
	inUse := map[string]bool{}    // sets
	var deletions []nftconn.Rule
	for _, c := range p.chains {
		handles := make([]uint64, len(c.rules))
		next := 0
		for _, there := range now.rules[c.name] {
			i := slices.IndexFunc(c.rules[next:], func(k kernelRule) bool { return k.is(there) })
			if i < 0 {
				if c.name != chainRequires {
					deletions = append(deletions, there)
				}
				continue
			}
			next += i + 1
			handles[next-1] = there.Handle
			for _, set := range c.rules[next-1].sets {
				inUse[set] = true
			}
		}
		stay[c.name] = handles
	}
	for name, c := range now.chains {
		if slices.ContainsFunc(p.chains, func(k kernelChain) bool { return k.name == name }) || name == chainRequires {
			continue
		}
		deletions = append(deletions, now.rules[name]...)
		if !c.Base {
			d.chains = append(d.chains, name)
		}
	}
	for _, rule := range deletions {
		b.DeleteRule(rule.Chain, rule.Handle)
	}
	for _, name := range now.sets {
		if strings.HasPrefix(name, "flows_") { // its elements go at once, before the rules that packets are in
			if !slices.ContainsFunc(p.maps, func(m kernelMap) bool { return m.name == name }) {
				d.maps = append(d.maps, name)
			}
			continue
		}
		i := slices.IndexFunc(p.sets, func(s kernelSet) bool { return s.name == name })
		if i < 0 {
			b.DeleteSet(name)
		} else if !inUse[name] { // else nobody can have changed it
			if whole, err := holds(conn, p, p.sets[i]); err != nil {
				return d, err
			} else if whole {
				inUse[name] = true
			} else {
				b.DeleteSet(name)
			}
		}
	}
	for _, s := range p.sets {
		if !inUse[s.name] {
			b.AddSet(s.what, s.name, s.typ, s.interval, s.elements)
			d.sets = append(d.sets, s)
			if s.interval {
				d.intervals = append(d.intervals, s)
			}
		}
	}
	for _, c := range p.chains {
		d.addChain(c, now)
	}
	for _, m := range p.maps {
		if !slices.Contains(now.sets, m.name) {
			b.AddMap(m.what, m.name, m.chains)
		}
	}
	for _, c := range p.chains {
		d.addRules(c, stay[c.name])
	}
	return d, nil
}

// addChain adds a chain if it is not there.
func (d *difference) addChain(c kernelChain, now present) {
	there, found := now.chains[c.name]
	switch {
	case !c.base && !found:
		d.batch.AddChain(c.name)
	case c.base && !found:
		d.bases = append(d.bases, c)
		fallthrough
	case c.base && (there.Hook != c.hook || there.Priority != c.prio || there.Policy != nftconn.PolicyAccept):
		d.batch.AddBaseChain(c.what, c.name, c.hook, c.prio)
	}
}

// addRules adds the rules that are not there, each before the next one that is.
func (d *difference) addRules(c kernelChain, handles []uint64) {
	for i, rule := range c.rules {
		if handles[i] != 0 {
			continue
		}
		before := uint64(0)
		for _, h := range handles[i:] {
			if h != 0 {
				before = h
				break
			}
		}
		d.batch.AddRule(rule.what, c.name, rule.exprs, rule.userData(), before)
	}
}

// holds reports whether a set has all its elements, and no others.
func holds(conn *nftconn.Conn, p *program, s kernelSet) (bool, error) {
	there, err := conn.Elements(p.family, p.set.Table, s.name)
	if err != nil || len(there) != len(s.elements) {
		return false, err
	}
	compare := func(a, b nftconn.Element) int {
		if a.End != b.End {
			return map[bool]int{true: 1, false: -1}[a.End]
		}
		return bytes.Compare(a.Key, b.Key)
	}
	wanted := slices.Clone(s.elements)
	slices.SortFunc(wanted, compare)
	slices.SortFunc(there, compare)
	return slices.EqualFunc(wanted, there, func(a, b nftconn.Element) bool { return compare(a, b) == 0 }), nil
}

// sweep deletes maps and chains that nothing leads to any more. It is no part of the
// transaction that took away what led there: packets that are on their way through
// the former rules would not find what is in a map, and older kernels (before 6.5)
// refuse to delete a chain for as long as they have a map that led to it. What
// cannot be deleted yet goes with the next Update.
func sweep(conn *nftconn.Conn, p *program, d difference) {
	commit := func(remove func(*nftconn.Batch, string), names []string) {
		for _, name := range names {
			b := nftconn.NewBatch(p.family, p.set.Table)
			remove(b, name)
			conn.Commit(b, 0)
		}
	}
	commit((*nftconn.Batch).DeleteSet, d.maps)
	commit((*nftconn.Batch).DeleteChain, d.chains)
}

// tellLater tells of others' chains that come behind new ones of ours.
func (r *Ruleset) tellLater(conn *nftconn.Conn, p *program, bases []kernelChain) {
	chains, err := conn.Chains(unix.AF_UNSPEC)
	if err != nil {
		return
	}
	families := map[uint8]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}
	if p.set.Family == Bridge {
		families = map[uint8]string{unix.NFPROTO_BRIDGE: "bridge"}
	}
	var later []string
	for _, there := range chains {
		family := families[there.Family]
		if family == "" || !there.Base || there.Family == p.family && there.Table == p.set.Table {
			continue
		}
		if slices.ContainsFunc(bases, func(c kernelChain) bool { return c.hook == there.Hook && c.prio <= there.Priority }) {
			later = append(later, fmt.Sprintf("%s %s %s", family, there.Table, there.Name))
		}
	}
	if later != nil {
		r.log.Info("rules: packets that wait in queues of these chains, if they queue any, are queued there a second time, since new chains come before them",
			slog.String("table", p.set.Table), slog.String("chains", strings.Join(later, ", ")))
	}
}
