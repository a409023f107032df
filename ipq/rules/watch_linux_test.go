package rules

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/nftables"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// A book is a log that may be read while it is written.
type book struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) has(s string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), s)
}

// watch installs a Set and watches it until the test ends.
func watch(t *testing.T, ns *netlab.NS, s Set) (*Ruleset, *book) {
	t.Helper()
	log := &book{}
	r, err := Config{NetNS: ns.FD(), Logger: textLogger(log)}.Install(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Watch(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	return r, log
}

// Whatever goes or changes is put back: by the flush of all rules, by a firewall
// that deletes what it does not know, piece by piece.
func TestWatchHeals(t *testing.T) {
	t.Parallel()
	changes := []struct{ what, nft string }{
		{"the ruleset", "flush ruleset"},
		{"the table", "delete table inet product"},
		{"a chain's rules", "flush chain inet product output_0"},
		{"a chain", "flush chain inet product input_m5; delete chain inet product input_m5"},
		{"all rules, and a set", "flush chain inet product output_0; delete set inet product SET"},
		{"one rule", "delete rule inet product input_m5 handle HANDLE"},
		{"what needs connection tracking", "flush chain inet product requires"},
		{"a rule of somebody else's", "insert rule inet product output_0 drop"},
		{"a policy", "chain inet product output_0 { policy drop; }"},
		{"a table that is switched off", "add table inet product { flags dormant; }"},
	}
	for some := range slices.Chunk(changes, patient) { // Watch has no patience for more
		ns := labtest.New(t)
		s := one(ipq.Output,
			Rule{Match: Match{DstAddrs: addrs(t, "127.0.0.1", "127.0.0.3", "::1", "::3")}},
			Rule{Match: Match{SrcAddrs: addrs(t, "10.0.0.0/8", "10.2.0.0/16", "11.1.0.0/24")}, Action: Drop},
			udpToQueue(Queue{First: 40, Count: 2, Spread: ByFlow, Bypass: true}))
		s.Defrag = true
		s.Chains = append(s.Chains, Chain{Hook: ipq.Input, Priority: -5, Rules: []Rule{{}, {}}})
		r, log := watch(t, ns, s)
		p := newPath(t, ns)
		whole := listing(t, ns)
		for i, c := range some {
			change := strings.NewReplacer("SET", r.table.Sets[0].Name, "HANDLE", handleOf(t, ns, "input_m5")).Replace(c.nft)
			mustRun(t, ns, change, "nft", "-f", "-")
			await(t, "repair of "+c.what, func() bool { return r.Repairs() > uint64(i) })
			if after := listing(t, ns); after != whole {
				t.Fatalf("%s: was\n%s\nis\n%s", c.what, whole, after)
			}
			p.send("x")
			p.receive()
			if _, err := r.Counters(); err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			if !log.has(fmt.Sprintf("repairs=%d", i+1)) {
				t.Errorf("%s: the log does not say so", c.what)
			}
		}
		if got := r.Repairs(); got != uint64(len(some)) {
			t.Errorf("%d repairs of %d", got, len(some))
		}
		if !log.has("by=\"nft (pid ") {
			t.Error("the log does not say who")
		}
		// Nobody can change what is in a set that a rule looks into.
		if out, err := run(t, ns, "", "nft", "flush", "set", "inet", "product", r.table.Sets[0].Name); err == nil {
			t.Errorf("a set was emptied: %s", out)
		}
	}
}

// handleOf returns the handle of a chain's first rule.
func handleOf(t *testing.T, ns *netlab.NS, chain string) string {
	t.Helper()
	_, handle, ok := strings.Cut(mustRun(t, ns, "", "nft", "-a", "list", "chain", "inet", "product", chain), "# handle ")
	_, handle, _ = strings.Cut(handle, "# handle ") // of the chain; this of its first rule
	handle, _, _ = strings.Cut(handle, "\n")
	if !ok || handle == "" {
		t.Fatal("no handle")
	}
	return handle
}

// Our own updates, and changes of others in their tables, are no cause for
// repairs; nothing is put back that was removed by Remove.
func TestWatchLeavesAlone(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	s := one(ipq.Output, Rule{}, Rule{Match: Match{SrcAddrs: addrs(t, "10.0.0.1", "10.0.0.9")}})
	log := &book{}
	r, err := Config{NetNS: ns.FD(), Logger: textLogger(log)}.Install(s)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.Watch(context.Background()) }()
	other := install(t, ns, Set{Table: "other", Chains: []Chain{{Hook: ipq.Output}}})
	for i := range 50 {
		s.Chains[0].Rules[0].Comment = strings.Repeat("x", i%5)
		update(t, r, s)
		update(t, other, Set{Table: "other", Chains: []Chain{{Hook: ipq.Output, Rules: make([]Rule, i%3)}}})
	}
	if err := r.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Watch: %v", err)
	}
	if n := r.Repairs(); n != 0 {
		t.Errorf("%d repairs: %s", n, &log.text)
	}
}

// Who undoes each repair has the last word most of the time, and is told of.
func TestWatchBacksOff(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	r, log := watch(t, ns, one(ipq.Output, Rule{Action: Accept}))
	c := nft(t, ns)
	for i := range uint64(patient + 1) {
		c.DelTable(&nftables.Table{Name: "product", Family: nftables.TableFamilyINet})
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		await(t, "a repair", func() bool { return r.Repairs() == i+1 })
	}
	await(t, "a word", func() bool { return log.has("somebody undoes every repair") })
	if !log.has("pause=1s") {
		t.Errorf("%s", &log.text)
	}
}

// A table that somebody else has put in the place of ours is not touched; when it
// goes, ours comes back.
func TestWatchAwaitsItsPlace(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	r, log := watch(t, ns, one(ipq.Output, Rule{Action: Accept}))
	c := nft(t, ns)
	table := &nftables.Table{Name: "product", Family: nftables.TableFamilyINet}
	c.DelTable(table)
	c.AddTable(table)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	await(t, "an error", func() bool { return log.has("cannot put rules back") })
	if n := r.Repairs(); n != 0 {
		t.Errorf("%d repairs", n)
	}
	c.DelTable(table)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	await(t, "a repair", func() bool { return r.Repairs() == 1 })
}
