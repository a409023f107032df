package nfttable_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/internal/nfttable"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func keeper(ns *netlab.NS) nfttable.Keeper {
	return nfttable.Keeper{Dial: func() (*nftconn.Conn, error) { return nftconn.Dial(ns.FD()) }}
}

func dial(t *testing.T, ns *netlab.NS) *nftconn.Conn {
	t.Helper()
	conn, err := keeper(ns).Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// counting returns a table with a chain at Output, and a rule that counts for each
// comment.
func counting(name string, comments ...string) *nfttable.Table {
	c := nfttable.Chain{Name: "output_0", Base: true, Hook: unix.NF_INET_LOCAL_OUT}
	for i, comment := range comments {
		c.Rules = append(c.Rules, nfttable.Rule{Comment: comment, Exprs: []expr.Any{&expr.Counter{}}, Counter: i})
	}
	return &nfttable.Table{Family: unix.NFPROTO_INET, Name: name, Comment: "test", Chains: []nfttable.Chain{c}}
}

// withSet adds a set of n intervals to a table, and a rule that looks into it.
func withSet(t *nfttable.Table, name string, n int) *nfttable.Table {
	set := nfttable.Set{Name: name, What: name, Type: nftconn.IPv4, Interval: true}
	for i := range n {
		first := binary.BigEndian.AppendUint32(nil, uint32(0x0a000000+4*i))
		end := binary.BigEndian.AppendUint32(nil, uint32(0x0a000000+4*i+2))
		set.Elements = append(set.Elements, nftconn.Element{Key: first}, nftconn.Element{Key: end, End: true})
	}
	t.Sets = append(t.Sets, set)
	c := &t.Chains[0]
	c.Rules = append(c.Rules, nfttable.Rule{
		Exprs: slices.Concat(nftexpr.Family(unix.AF_INET), nftexpr.SrcAddr(unix.AF_INET).In(name)), Sets: []string{name}, Counter: nfttable.Uncounted,
	})
	return t
}

func whole(t *testing.T, ns *netlab.NS, table *nfttable.Table) {
	t.Helper()
	conn := dial(t, ns)
	for _, s := range table.Sets {
		if there, err := conn.Elements(table.Family, table.Name, s.Name); len(there) != len(s.Elements) || err != nil {
			t.Errorf("set %s has %d elements of %d, %v", s.Name, len(there), len(s.Elements), err)
		}
	}
	if sets, err := conn.Sets(table.Family, table.Name); len(sets) != len(table.Sets) || err != nil {
		t.Errorf("%q, %v", sets, err)
	}
}

// Make makes what is not there, whatever it takes to, and leaves alone what is:
// its own tables, too.
func TestMake(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	k := keeper(ns)
	table := withSet(counting("a", "one", "two"), "set", 100)
	if there, err := k.Exists(table); there || err != nil {
		t.Errorf("%v, %v", there, err)
	}
	if err := k.Make(table); err != nil {
		t.Fatal(err)
	}
	whole(t, ns, table)
	if err := k.Make(counting("a", "other")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
	if there, err := k.Exists(table); !there || err != nil {
		t.Errorf("%v, %v", there, err)
	}
	if counters, err := k.Counters(table, 2); len(counters) != 2 || err != nil {
		t.Errorf("%v, %v", counters, err)
	}
	if changed, err := k.Apply(table); changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
	if err := k.Remove(table); err != nil {
		t.Error(err)
	}
	if err := k.Remove(table); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := k.Counters(table, 2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A table without the maker's comment is not the maker's, whoever else keeps it.
func TestTablesHaveMakers(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	k := keeper(ns)
	theirs, ours := counting("a", "one"), counting("a", "two")
	theirs.Comment = "test of somebody else"
	if err := k.Make(theirs); err != nil {
		t.Fatal(err)
	}
	_, err := k.Apply(ours)
	_, countErr := k.Counters(ours, 1)
	for _, err := range []error{err, countErr, k.Remove(ours), k.Make(ours)} {
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("%v", err)
		}
	}
	if _, err := k.Counters(theirs, 1); err != nil {
		t.Error(err)
	}
}

// What counts is known again, or it is said that it is not.
func TestCountersAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	k := keeper(ns)
	was := counting("a", "one", "two")
	if err := k.Make(was); err != nil {
		t.Fatal(err)
	}
	for _, other := range []*nfttable.Table{counting("a", "one"), counting("a", "two", "one"), counting("a", "one", "two", "three")} {
		if _, err := k.Apply(other); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Counters(was, 2); !errors.Is(err, nfttable.ErrTampered) {
			t.Errorf("%v", err)
		}
	}
}

// Chains that last stay with what is in them, also when the table has them no more.
func TestLasting(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	k := keeper(ns)
	table := counting("a", "one")
	table.Lasting = []string{"kept"}
	with := *table
	with.Chains = append(slices.Clone(table.Chains), nfttable.Chain{Name: "kept", Rules: counting("", "x").Chains[0].Rules}, nfttable.Chain{Name: "left"})
	for _, step := range []*nfttable.Table{&with, table, table} {
		if _, err := k.Apply(step); err != nil {
			t.Fatal(err)
		}
	}
	conn := dial(t, ns)
	rules, err := conn.Rules(table.Family, "a")
	if len(rules) != 2 || err != nil {
		t.Errorf("%+v, %v", rules, err)
	}
	chains, err := conn.Chains(table.Family)
	if len(chains) != 2 || err != nil {
		t.Errorf("%+v, %v", chains, err)
	}
}

// Sets that do not fit into a message are filled before they are used; what a
// process leaves that is killed over it is not taken for whole, and what fails
// leaves nothing, but for what somebody has taken over.
func TestSetsAreFilledBefore(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	k := keeper(ns)
	fill := func(table *nfttable.Table, elements int) (undo func(nfttable.Keeper)) {
		t.Helper()
		undo, err := nfttable.Fill(dial(t, ns), table, elements, 20000)
		if err != nil {
			t.Fatal(err)
		}
		return undo
	}
	table := withSet(withSet(counting("a"), "first", 2000), "second", 300)
	fill(table, 1<<20)(k)
	if there, err := k.Exists(table); there || err != nil {
		t.Errorf("%v, %v", there, err)
	}
	undo := fill(table, 1<<20)
	whole(t, ns, table)
	fill(table, 1000) // of a process that was killed
	if _, err := k.Apply(table); err != nil {
		t.Fatal(err)
	}
	whole(t, ns, table)
	undo(k) // of a process that was slow
	whole(t, ns, table)
	other := withSet(counting("a"), "third", 500)
	fill(other, 1<<20)(k)
	whole(t, ns, table)
}

// A set that rules add to keeps what they have added, whatever Apply changes.
func TestGrowingSetsStay(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	k := keeper(ns)
	table := counting("grows", "a")
	table.Sets = []nfttable.Set{{Name: "seen", What: "seen", Room: 2, Values: []nftconn.SetType{nftconn.IPv4, nftconn.Port}}}
	if _, err := k.Apply(table); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, ns)
	key := []byte{127, 0, 0, 1, 0, 53, 0, 0}
	b := nftconn.NewBatch(table.Family, table.Name)
	b.AddElements("seen", "seen", []nftconn.Element{{Key: key}})
	if err := conn.Commit(b, 0); err != nil {
		t.Fatal(err)
	}
	for _, comment := range []string{"a", "b"} {
		next := counting("grows", comment)
		next.Sets = table.Sets
		if changed, err := k.Apply(next); changed != (comment == "b") || err != nil {
			t.Errorf("%s: changed %v, %v", comment, changed, err)
		}
		if there, err := conn.Elements(table.Family, table.Name, "seen"); err != nil || len(there) != 1 || string(there[0].Key) != string(key) {
			t.Errorf("%s: %v, %v", comment, there, err)
		}
	}
}
