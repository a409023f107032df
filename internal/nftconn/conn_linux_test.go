package nftconn_test

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/nftconn"
)

func TestMain(m *testing.M) { labtest.Main(m) }

const family = unix.NFPROTO_INET

func dial(t *testing.T, ns *netlab.NS) *nftconn.Conn {
	t.Helper()
	c, err := nftconn.Dial(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func commit(t *testing.T, c *nftconn.Conn, table string, add func(*nftconn.Batch)) {
	t.Helper()
	b := nftconn.NewBatch(family, table)
	add(b)
	if err := c.Commit(b, 0); err != nil {
		t.Fatal(err)
	}
}

func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

// A transaction is made whole or not at all, and the error names what was refused.
func TestCommitIsWhole(t *testing.T) {
	t.Parallel()
	c := dial(t, labtest.New(t))
	b := nftconn.NewBatch(family, "a")
	b.AddTable("mine")
	b.AddBaseChain("chain", "base", unix.NF_INET_LOCAL_OUT, -7)
	b.AddRule("first", "base", []expr.Any{&expr.Counter{Packets: 5, Bytes: 6}}, nftconn.UserData(nil, 0x77, []byte("x")), 0)
	b.AddRule("second", "base", jump("nowhere"), nil, 0)
	b.AddRule("third", "base", jump("nowhere"), nil, 0)
	err := c.Commit(b, 0)
	var refused *nftconn.Refused
	if !errors.As(err, &refused) || refused.What != "second" || refused.Errno != unix.ENOENT {
		t.Errorf("%v", err)
	}
	if _, err := c.Table(family, "a"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
	commit(t, c, "a", func(b *nftconn.Batch) {
		b.AddTable("mine")
		b.AddChain("nowhere")
		b.AddBaseChain("chain", "base", unix.NF_INET_LOCAL_OUT, -7)
		b.AddRule("first", "base", []expr.Any{&expr.Counter{Packets: 5, Bytes: 6}}, nftconn.UserData(nil, 0x77, []byte("x")), 0)
		b.AddRule("second", "base", jump("nowhere"), nil, 0)
	})
	if table, err := c.Table(family, "a"); err != nil || table.Comment != "mine" {
		t.Errorf("%+v, %v", table, err)
	}
	chains, err := c.Chains(family)
	want := []nftconn.Chain{{family, "a", "nowhere", false, 0, 0, 0}, {family, "a", "base", true, unix.NF_INET_LOCAL_OUT, -7, nftconn.PolicyAccept}}
	if err != nil || !slices.Equal(chains, want) {
		t.Errorf("%+v, %v", chains, err)
	}
	rules, err := c.Rules(family, "a")
	if err != nil || len(rules) != 2 || rules[0].Packets != 5 || rules[0].Bytes != 6 || string(nftconn.UserValue(rules[0].UserData, 0x77)) != "x" {
		t.Fatalf("%+v, %v", rules, err)
	}
	commit(t, c, "a", func(b *nftconn.Batch) {
		b.AddRule("before", "base", []expr.Any{&expr.Counter{Packets: 1}}, nil, rules[1].Handle)
		b.DeleteRule("base", rules[0].Handle)
	})
	if rules, err := c.Rules(family, "a"); err != nil || len(rules) != 2 || rules[0].Packets != 1 {
		t.Errorf("%+v, %v", rules, err)
	}
}

// A transaction that was made up before somebody else's is refused.
func TestCommitKnowsOfChanges(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	a, b := dial(t, ns), dial(t, ns)
	generation, err := a.Generation()
	if err != nil {
		t.Fatal(err)
	}
	commit(t, b, "b", func(b *nftconn.Batch) { b.AddTable("") })
	batch := nftconn.NewBatch(family, "a")
	batch.AddTable("")
	if err := a.Commit(batch, generation); !errors.Is(err, nftconn.ErrChanged) {
		t.Errorf("%v", err)
	}
	if generation, err = a.Generation(); err != nil {
		t.Fatal(err)
	}
	if err := a.Commit(batch, generation); err != nil {
		t.Error(err)
	}
}

// Thousands of rules and elements need no large receive buffer.
func TestLargeBatch(t *testing.T) {
	t.Parallel()
	c := dial(t, labtest.New(t))
	if err := c.ShrinkReceiveBuffer(); err != nil { // the kernel's least
		t.Fatal(err)
	}
	var elements []nftconn.Element
	for i := range 3000 {
		key := binary.BigEndian.AppendUint32(nil, uint32(4*i))
		elements = append(elements, nftconn.Element{Key: key}, nftconn.Element{Key: binary.BigEndian.AppendUint32(nil, uint32(4*i+2)), End: true})
	}
	b := nftconn.NewBatch(family, "a")
	b.AddTable("")
	b.AddChain("chain")
	b.AddSet("set", "set", nftconn.IPv4, true, elements)
	for range 2000 {
		b.AddRule("rule", "chain", nil, []byte("x\x00"), 0)
	}
	if size := c.MaxBatch(b.Size()); size < b.Size() && netlab.Privileged() {
		t.Fatalf("%d bytes are too many: %d", b.Size(), size)
	} else if size < b.Size() {
		t.Skipf("an ordinary user may send %d bytes here", size)
	}
	if err := c.Commit(b, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Elements(family, "a", "set"); err != nil || len(got) != len(elements) {
		t.Errorf("%d elements, %v", len(got), err)
	}
	if sets, err := c.Sets(family, "a"); err != nil || !slices.Equal(sets, []string{"set"}) {
		t.Errorf("%q, %v", sets, err)
	}
	if rules, err := c.Rules(family, "a"); err != nil || len(rules) != 2000 {
		t.Errorf("%d rules, %v", len(rules), err)
	}
}

// A Monitor hears of its table, from whoever changes it, and of no other.
func TestMonitor(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	c := dial(t, ns)
	m, err := nftconn.NewMonitor(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	commit(t, c, "other", func(b *nftconn.Batch) { b.AddTable("") })
	commit(t, c, "a", func(b *nftconn.Batch) { b.AddTable("") })
	commit(t, c, "other", func(b *nftconn.Batch) { b.DeleteTable() })
	who, err := m.Await(t.Context(), family, "a")
	if err != nil || !strings.Contains(who, " (pid ") {
		t.Errorf("%q, %v", who, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if who, err := m.Await(ctx, family, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", who, err)
	}
	commit(t, c, "a", func(b *nftconn.Batch) { b.AddChain("chain") })
	if _, err := m.Await(t.Context(), family, "a"); err != nil {
		t.Error(err)
	}
}
