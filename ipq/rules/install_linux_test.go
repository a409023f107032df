package rules

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/ipq"
)

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// helperEnv marks a process that a test started without rights.
const helperEnv = "GOIPQ_RULES_TEST_HELPER"

func helperMain() {
	if os.Getenv(helperEnv) == "" {
		return
	}
	_, err := Install(Set{Table: "product", Chains: []Chain{{Hook: ipq.Output}}})
	fmt.Println(errors.Is(err, fs.ErrPermission), err)
	os.Exit(0)
}

// Who has no rights over the network namespace is told which.
func TestNoRights(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	var out []byte
	err := ns.Do(func() (err error) {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), helperEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER} // whose root has none over ns
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil || !strings.HasPrefix(string(out), "true ") || !strings.Contains(string(out), "CAP_NET_ADMIN") {
		t.Errorf("%v: %s", err, out)
	}
	if names := tableNames(t, ns); names != nil {
		t.Errorf("tables %q", names)
	}
}

// A process that was killed leaves its table to the next one, which changes it to
// its own rules; what is the same goes on counting.
func TestInstallTakesOver(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	p := newPath(t, ns)
	same := Rule{Match: Match{Protocol: protocolUDP}}
	first := one(ipq.Output, same, Rule{Match: Match{SrcAddrs: addrs(t, "10.0.0.0/8", "fd00::/8", "192.0.2.1")}, Action: Drop}, udpToQueue(Queue{Count: 3, Spread: ByFlow}))
	install(t, ns, first)
	p.send("x")
	for range 3 {
		again := install(t, ns, first)
		if got := packets(t, again); !slices.Equal(got, []uint64{1, 0, 1}) {
			t.Errorf("counted %d", got)
		}
	}
	r := install(t, ns, one(ipq.Output, same))
	if got := packets(t, r); !slices.Equal(got, []uint64{1}) {
		t.Errorf("counted %d", got)
	}
	// Of what is not needed any more, nothing is left: no set, and no chain but one
	// at a hook.
	await(t, "chains to go", func() bool {
		update(t, r, one(ipq.Output, same))
		conn := dial(t, ns)
		defer conn.Close()
		chains, err := conn.Chains(r.table.Family)
		sets, setsErr := conn.Sets(r.table.Family, "product")
		if err := errors.Join(err, setsErr); err != nil {
			t.Fatal(err)
		}
		return len(chains) == 1 && len(sets) == 0
	})
	if err := r.Remove(); err != nil {
		t.Error(err)
	}
	if names := tableNames(t, ns); names != nil {
		t.Errorf("tables %q", names)
	}
	for _, err := range []error{r.Remove(), r.Update(first), r.Watch(t.Context())} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Remove: %v", err)
		}
	}
	if _, err := r.Counters(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
}

// A Set is the caller's, who may change it for the next Update: a Ruleset is what it
// was made of.
func TestSetIsTheCallers(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	s := one(ipq.Output, Rule{Match: Match{Protocol: protocolUDP}}, Rule{})
	r := install(t, ns, s)
	newPath(t, ns).send("x")
	s.Chains[0].Rules[0].Match.Protocol = protocolTCP
	s.Chains[0].Rules = s.Chains[0].Rules[:1]
	if got := packets(t, r); !slices.Equal(got, []uint64{1, 1}) {
		t.Errorf("counted %d", got)
	}
	update(t, r, s)
	if got := packets(t, r); !slices.Equal(got, []uint64{0}) {
		t.Errorf("counted %d", got)
	}
}

// What is no network namespace is refused, and the error names the field.
func TestNetNSIsANamespace(t *testing.T) {
	_, err := Config{NetNS: -1}.Install(one(ipq.Output))
	if !errors.Is(err, unix.EBADF) || !strings.Contains(err.Error(), "NetNS") {
		t.Errorf("%v", err)
	}
}

func dial(t testing.TB, ns *netlab.NS) *nftconn.Conn {
	t.Helper()
	conn, err := nftconn.Dial(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// A table that is not of this package is left alone.
func TestForeignTable(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	c := nft(t, ns)
	table := c.AddTable(&nftables.Table{Name: "product", Family: nftables.TableFamilyINet})
	c.AddChain(&nftables.Chain{Name: "mine", Table: table})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	s := one(ipq.Output, Rule{Action: Drop})
	if _, err := (Config{NetNS: ns.FD()}).Install(s); !errors.Is(err, fs.ErrExist) || errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "nft delete table inet product") {
		t.Errorf("%v", err)
	}
	chains, err := c.ListChains()
	if err != nil || len(chains) != 1 || chains[0].Name != "mine" {
		t.Errorf("%v, %v", chains, err)
	}
	// In place of ours.
	s.Table = "ours"
	r := install(t, ns, s)
	c.DelTable(&nftables.Table{Name: "ours", Family: nftables.TableFamilyINet})
	c.AddTable(&nftables.Table{Name: "ours", Family: nftables.TableFamilyINet})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{r.Update(s), r.Remove()} {
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("%v", err)
		}
	}
	if got := tableNames(t, ns); !slices.Equal(got, []string{"product", "ours"}) {
		t.Errorf("tables %q", got)
	}
}

// Two products stand side by side, and one of them may go.
func TestTwoProducts(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	p := newPath(t, ns)
	s := one(ipq.Output, Rule{Match: Match{Protocol: protocolUDP, DstAddrs: addrs(t, "127.0.0.1", "127.0.0.3")}})
	a := install(t, ns, s)
	s.Table = "other"
	b := install(t, ns, s)
	s.Family = Bridge
	s.Table = "product"
	if _, err := (Config{NetNS: ns.FD()}).Install(s); err != nil {
		t.Error(err)
	}
	p.send("x")
	if err := a.Remove(); err != nil {
		t.Error(err)
	}
	p.send("x")
	if got := packets(t, b); got[0] != 2 {
		t.Errorf("counted %d", got)
	}
	if _, err := a.Counters(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("counters of a removed table: %v", err)
	}
}

// A Set of which the kernel refuses a part leaves nothing behind, and the error
// names the part.
func TestRefusedLeavesNothing(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	s := one(ipq.Output, Rule{Match: Match{DstAddrs: addrs(t, "10.0.0.1", "10.0.0.3", "::1", "::3")}}, Rule{Action: Accept})
	table := compile(s, features{}).table()
	table.Chains[0].Rules[2].Exprs[1] = verdictTo("nowhere")
	r := &Ruleset{netns: held(t, ns)}
	apply := func() error {
		_, err := r.keeper().Apply(table)
		return r.failed(s, err)
	}
	err := apply()
	var field *FieldError
	if !errors.As(err, &field) || field.Field != "Chains[0].Rules[1]" || errors.Is(err, ErrConfig) || !errors.Is(err, unix.ENOENT) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if names := tableNames(t, ns); names != nil {
		t.Errorf("tables %q", names)
	}
	// And a table that is there stays as it was.
	was := install(t, ns, s)
	before := listing(t, ns)
	if err := apply(); !errors.As(err, &field) {
		t.Errorf("%v", err)
	}
	if after := listing(t, ns); after != before {
		t.Errorf("was\n%s\nis\n%s", before, after)
	}
	for _, s := range []Set{{Table: "other"}, {Table: "product", Family: Bridge}, {Table: "product", Chains: []Chain{{Hook: 9}}}} {
		if err := was.Update(s); !errors.Is(err, ErrConfig) {
			t.Errorf("Update to %+v: %v", s, err)
		}
	}
}

// Tens of thousands of addresses come and go.
func TestLargeSets(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	p := newPath(t, ns)
	list := manyAddrs(20000)
	list = append(list, addrs(t, "127.0.0.0/30", "::1")...)
	r := install(t, ns, one(ipq.Output, Rule{Match: Match{DstAddrs: list}}, Rule{Match: Match{Protocol: protocolUDP}, Not: Match{DstAddrs: list}}))
	p.send("x")
	if got := packets(t, r); !slices.Equal(got, []uint64{1, 0}) {
		t.Errorf("counted %d", got)
	}
	list = list[:len(list)-2]
	update(t, r, one(ipq.Output, Rule{Match: Match{DstAddrs: list}}, Rule{Match: Match{Protocol: protocolUDP}, Not: Match{DstAddrs: list}}))
	p.send("x")
	if got := packets(t, r); !slices.Equal(got, []uint64{0, 1}) {
		t.Errorf("counted %d", got)
	}
	conn := dial(t, ns)
	defer conn.Close()
	for _, s := range r.table.Sets {
		if there, err := conn.Elements(r.table.Family, "product", s.Name); len(there) != len(s.Elements) || err != nil {
			t.Errorf("set %s: %d elements of %d, %v", s.Name, len(there), len(s.Elements), err)
		}
	}
	update(t, r, one(ipq.Output))
	if sets, err := conn.Sets(r.table.Family, "product"); len(sets) != 0 || err != nil {
		t.Errorf("sets %q, %v", sets, err)
	}
}

// Thousands of rules are installed, or it is said why not: they are one message to
// the kernel, which is bounded for an ordinary user.
func TestManyRules(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	rules := make([]Rule, 3000)
	for i := range rules {
		rules[i] = Rule{Match: Match{Mark: Mark{uint32(i), 1<<32 - 1}}, Action: Accept}
	}
	r, err := Config{NetNS: ns.FD()}.Install(one(ipq.Output, rules...))
	if errors.Is(err, unix.EMSGSIZE) && strings.Contains(err.Error(), "net.core.wmem_max") && !netlab.Privileged() {
		if names := tableNames(t, ns); names != nil {
			t.Errorf("tables %q", names)
		}
		return
	} else if err != nil {
		t.Fatal(err)
	}
	p := newPath(t, ns)
	p.send("x")
	if got := packets(t, r); len(got) != len(rules) || got[0] != 1 || got[1] != 0 {
		t.Errorf("%d counters, of the first %d", len(got), got[0])
	}
}

// Flows are spread over as many queues as are allowed.
func TestManyQueues(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	q := Queue{First: 1<<16 - maxByFlow, Count: maxByFlow, Bypass: true, Spread: ByFlow}
	r := install(t, ns, one(ipq.Output, udpToQueue(q)))
	p := newPath(t, ns)
	p.send("x") // to a queue where nobody listens
	p.receive()
	if got := packets(t, r); !slices.Equal(got, []uint64{1}) {
		t.Errorf("counted %d", got)
	}
}

// manyAddrs returns networks and addresses of both families.
func manyAddrs(n int) (list []netip.Prefix) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range n / 2 {
		v4 := binary.BigEndian.AppendUint32(nil, 0x0b000000+rng.Uint32N(0x40000000))
		v6 := append(bytes.Repeat([]byte{0x20}, 12), v4...)
		for _, b := range [][]byte{v4, v6} {
			a, _ := netip.AddrFromSlice(b)
			list = append(list, netip.PrefixFrom(a, a.BitLen()-rng.IntN(4)))
		}
	}
	return list
}

func held(t testing.TB, ns *netlab.NS) *os.File {
	t.Helper()
	f, err := netns.Dup(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func verdictTo(chain string) expr.Any { return &expr.Verdict{Kind: expr.VerdictJump, Chain: chain} }

// listing returns the namespace's sets and chains as nft lists them, without counts.
func listing(t testing.TB, ns *netlab.NS) string {
	t.Helper()
	text := counts.ReplaceAllString(mustRun(t, ns, "", "nft", "list", "ruleset"), "counter")
	text = flowMap.ReplaceAllString(text, "symhash vmap") // in the text it has no name
	blocks := block.FindAllString(text, -1)               // in whichever order they were made
	slices.Sort(blocks)
	return strings.Join(blocks, "\n")
}

var (
	counts  = regexp.MustCompile(`counter packets \d+ bytes \d+`)
	flowMap = regexp.MustCompile(`symhash mod \d+ vmap (?:@\w+|\{[^}]*\})`)
	block   = regexp.MustCompile(`(?ms)^table [^\n]*|^\t(?:set|chain) .*?^\t}`)
)
