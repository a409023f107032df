package nfttable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/nftconn"
)

// apply makes the table what it says, and reports whether it was not. With fresh
// there must be none before.
func (k Keeper) apply(t *Table, fresh bool) (changed bool, err error) {
	if err := t.seal(); err != nil {
		return false, err
	}
	staged := stage{table: t}
	err = k.retry(func(conn *nftconn.Conn, generation uint32) error {
		now, err := look(conn, t)
		if err == nil && fresh && !staged.made {
			err = fs.ErrExist
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		d, err := compareWith(conn, t, now)
		if err != nil {
			return err
		}
		if d.batch.Empty() {
			sweep(conn, t, d)
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
		var behind []string
		if k.Later != nil && len(d.bases) > 0 {
			if behind, err = later(conn, t, d.bases); err != nil {
				return err
			}
		}
		if err := conn.Commit(d.batch, generation); err != nil {
			return err
		}
		changed, staged.used = true, true
		if behind != nil {
			k.Later(t, behind)
		}
		sweep(conn, t, d)
		return nil
	})
	if err != nil {
		staged.undo(k)
		return false, err
	}
	return changed, nil
}

// A difference is what makes a table what it says.
type difference struct {
	batch     *nftconn.Batch
	sets      []Set    // that it makes
	intervals []Set    // those of them that need a transaction of their own
	bases     []Chain  // that it makes
	maps      []string // that nothing looks into then
	chains    []string // that nothing leads to then
}

func compareWith(conn *nftconn.Conn, t *Table, now present) (d difference, err error) {
	b := nftconn.NewBatch(t.Family, t.Name)
	d.batch = b
	if !now.table {
		b.AddTable(t.Comment)
	} else if now.dormant {
		b.WakeTable()
	}
	// Rules that stay, by their places in the table.
	stay := map[string][]uint64{} // handles, 0 for a new rule
	inUse := map[string]bool{}    // sets
	var deletions []nftconn.Rule
	for _, c := range t.Chains {
		handles := make([]uint64, len(c.Rules))
		next := 0
		for _, there := range now.rules[c.Name] {
			i := slices.IndexFunc(c.Rules[next:], func(k Rule) bool { return k.is(there) })
			if i < 0 {
				if !t.lasts(c.Name) {
					deletions = append(deletions, there)
				}
				continue
			}
			next += i + 1
			handles[next-1] = there.Handle
			for _, set := range c.Rules[next-1].Sets {
				inUse[set] = true
			}
		}
		stay[c.Name] = handles
	}
	for name, c := range now.chains {
		if slices.ContainsFunc(t.Chains, func(k Chain) bool { return k.Name == name }) || t.lasts(name) {
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
		if strings.HasPrefix(name, MapPrefix) { // its elements go at once, before the rules that packets are in
			if !slices.ContainsFunc(t.Maps, func(m Map) bool { return m.Name == name }) {
				d.maps = append(d.maps, name)
			}
			continue
		}
		i := slices.IndexFunc(t.Sets, func(s Set) bool { return s.Name == name })
		if i < 0 {
			b.DeleteSet(name)
		} else if !inUse[name] { // else nobody can have changed it
			if t.Sets[i].Values != nil { // what is in it is the rules' matter
				inUse[name] = true
			} else if whole, err := holds(conn, t, t.Sets[i]); err != nil {
				return d, err
			} else if whole {
				inUse[name] = true
			} else {
				b.DeleteSet(name)
			}
		}
	}
	for _, s := range t.Sets {
		if !inUse[s.Name] {
			s.add(b, s.Elements)
			d.sets = append(d.sets, s)
			if s.Interval {
				d.intervals = append(d.intervals, s)
			}
		}
	}
	for _, c := range t.Chains {
		d.addChain(c, now)
	}
	for _, m := range t.Maps {
		if !slices.Contains(now.sets, m.Name) {
			b.AddMap(m.What, m.Name, m.Chains)
		}
	}
	for _, c := range t.Chains {
		d.addRules(c, stay[c.Name])
	}
	return d, nil
}

// addChain adds a chain if it is not there.
func (d *difference) addChain(c Chain, now present) {
	there, found := now.chains[c.Name]
	switch {
	case !c.Base && !found:
		d.batch.AddChain(c.Name)
	case c.Base && !found:
		d.bases = append(d.bases, c)
		fallthrough
	case c.Base && (there.Hook != c.Hook || there.Priority != c.Priority || there.Policy != nftconn.PolicyAccept):
		d.batch.AddBaseChain(c.What, c.Name, c.Hook, c.Priority)
	}
}

// addRules adds the rules that are not there, each before the next one that is.
func (d *difference) addRules(c Chain, handles []uint64) {
	for i, rule := range c.Rules {
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
		d.batch.AddRule(rule.What, c.Name, rule.Exprs, rule.userData(), before)
	}
}

// holds reports whether a set has all its elements, and no others.
func holds(conn *nftconn.Conn, t *Table, s Set) (bool, error) {
	there, err := conn.Elements(t.Family, t.Name, s.Name)
	if err != nil || len(there) != len(s.Elements) {
		return false, err
	}
	compare := func(a, b nftconn.Element) int {
		if a.End != b.End {
			return map[bool]int{true: 1, false: -1}[a.End]
		}
		return bytes.Compare(a.Key, b.Key)
	}
	wanted := slices.Clone(s.Elements)
	slices.SortFunc(wanted, compare)
	slices.SortFunc(there, compare)
	return slices.EqualFunc(wanted, there, func(a, b nftconn.Element) bool { return compare(a, b) == 0 }), nil
}

// sweep deletes maps and chains that nothing leads to any more. It is no part of the
// transaction that took away what led there: packets that are on their way through
// the former rules would not find what is in a map, and older kernels (before 6.5)
// refuse to delete a chain for as long as they have a map that led to it. What
// cannot be deleted yet goes with the next Apply.
func sweep(conn *nftconn.Conn, t *Table, d difference) {
	commit := func(remove func(*nftconn.Batch, string), names []string) {
		for _, name := range names {
			b := nftconn.NewBatch(t.Family, t.Name)
			remove(b, name)
			conn.Commit(b, 0)
		}
	}
	commit((*nftconn.Batch).DeleteSet, d.maps)
	commit((*nftconn.Batch).DeleteChain, d.chains)
}
