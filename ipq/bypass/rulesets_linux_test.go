package bypass

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/ipq"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Each of the rulesets of a Bypasser counts what its own rules have decided, so
// that their sum is what all of them have; new rules begin at zero.
func TestRulesetsCountByThemselves(t *testing.T) {
	for _, backend := range []Backend{EBPF, ConnMark} { // NFTSet has one ruleset at a time
		t.Run(backend.String(), func(t *testing.T) { countSeparately(t, Config{Backend: backend}) })
	}
	t.Run("pinned", func(t *testing.T) {
		needBPF(t)
		ns, dir := labtest.New(t), t.TempDir()
		inMounts(t, ns, dir, func() { countSeparately(t, Config{Backend: EBPF, PinDir: dir + "/pinned"}) })
	})
}

func countSeparately(t *testing.T, cfg Config) {
	ns := labtest.New(t)
	b := newBypasser(t, ns, cfg)
	accepted, dropped := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0"), newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
	output := install(t, b, Rules{Table: "one", Hook: ipq.Output,
		Match: []Match{{Protocol: protoUDP, Port: addrOf(accepted.b).Port()}}})
	input := install(t, b, Rules{Table: "two", Hook: ipq.Input, Match: udp})
	want := func(name string, set *Ruleset, accepted, dropped, queued uint64) {
		t.Helper()
		c, err := set.Counters()
		for began := time.Now(); c.Dropped.Packets < dropped && time.Since(began) < patience; {
			c, err = set.Counters() // nobody tells when one is dropped
		}
		if err != nil || c.Accepted.Packets != accepted || c.Dropped.Packets != dropped || c.Queued.Packets != queued {
			t.Errorf("%s: %+v, %v; want %d accepted, %d dropped, %d queued", name, c, err, accepted, dropped, queued)
		}
		if size := uint64(20 + 8 + 5); c.Dropped.Bytes != dropped*size {
			t.Errorf("%s: %+v, want %d bytes each", name, c, size)
		}
	}
	_, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() }))
	for range 5 {
		accepted.exchange(t)
	}
	stop()
	want("at Output", output, 9, 0, 1)
	want("at Input", input, 10, 0, 0)
	drops := uint64(0)
	if b.Backend() == EBPF {
		if err := b.Table().Insert(dropped.flow(), ipq.Drop, Limits{}); err != nil {
			t.Fatal(err)
		}
		for drops < 4 {
			send(t, dropped.a, dropped.b, "never")
			drops++
		}
		want("at Output", output, 9, 0, 1)
		want("at Input", input, 10, drops, 0)
	}
	if err := input.Remove(); err != nil {
		t.Fatal(err)
	}
	if c, err := input.Counters(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Remove: %+v, %v", c, err)
	}
	again := install(t, b, Rules{Table: "two", Hook: ipq.Input, Match: udp})
	third := install(t, b, Rules{Table: "three", Hook: ipq.Prerouting, Match: udp})
	want("at Input, anew", again, 0, 0, 0)
	accepted.exchange(t)
	want("at Output", output, 11, 0, 1)
	want("at Input, anew", again, 2, 0, 0)
	want("at Prerouting", third, 2, 0, 0)
	if b.Backend() == EBPF {
		if c := mustCount(t, b.Table()); c.AcceptedPackets != 9+10+2+2+2 || c.DroppedPackets != drops {
			t.Errorf("the table: %+v", c)
		}
	}
}

// Rules that come and go take nothing that stays.
func TestRulesetsUseTheirProgramsAgain(t *testing.T) {
	ns := labtest.New(t)
	b := newBypasser(t, ns, Config{Backend: EBPF})
	for range 5 {
		one := install(t, b, Rules{Table: "one", Hook: ipq.Output})
		two := install(t, b, Rules{Table: "two", Hook: ipq.Input})
		if _, err := b.Install(Rules{Table: "two", Hook: ipq.Input}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a second table of a name: %v", err)
		}
		for _, set := range []*Ruleset{one, two, two} {
			if err := set.Remove(); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
	}
	if all, free := len(b.table.objects.tallies.all), len(b.table.objects.tallies.free); all != 2 || free != 2 {
		t.Errorf("%d programs, %d of them free, for two rulesets at a time", all, free)
	}
}

// The namespace's file may go when New has returned: the Bypasser has its own
// until Close, and each ruleset until its table is gone.
func TestNetNSIsHeld(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend Backend) {
		if backend == EBPF {
			needBPF(t)
		}
		ns := labtest.New(t)
		before := 0
		for round := range 3 {
			f, err := netns.Dup(ns.FD())
			if err != nil {
				t.Fatal(err)
			}
			b, err := New(Config{Backend: backend, NetNS: int(f.Fd())})
			runtime.KeepAlive(f)
			f.Close()
			if err != nil {
				t.Fatal(err)
			}
			set := install(t, b, Rules{Hook: ipq.Output, Match: udp})
			settleOnce(t, ns, b)
			if c, err := set.Counters(); err != nil || c.Accepted.Packets != 9 {
				t.Errorf("%+v, %v", c, err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if n := len(tablesIn(t, ns)); n != 1 {
				t.Errorf("%d tables after Close", n)
			}
			if err := set.Remove(); err != nil {
				t.Error(err)
			}
			if n := len(tablesIn(t, ns)); n != 0 {
				t.Errorf("%d tables after Remove", n)
			}
			if err := set.Remove(); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a second Remove: %v", err)
			}
			if _, err := b.Install(Rules{}); !errors.Is(err, ErrClosed) {
				t.Errorf("Install after Close: %v", err)
			}
			// The first round may have opened what the process keeps. The pair
			// of sockets stays open until the test ends. What former tests have
			// left open the garbage collector may close.
			if now := descriptors(t) - 2*round; round == 0 {
				before = now
			} else if now > before {
				t.Errorf("round %d: %d descriptors are open, after the first %d", round, now, before)
			}
		}
	})
}

// What is no network namespace is refused, and nothing of it is kept.
func TestNetNSIsANamespace(t *testing.T) {
	labtest.Need(t)
	closed, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	numbers := []int{int(closed.Fd()), -1}
	for _, name := range []string{os.DevNull, "/proc/self/ns/mnt"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		numbers = append(numbers, int(f.Fd()))
	}
	closed.Close()
	before := descriptors(t)
	for i, fd := range numbers {
		_, err := New(Config{Backend: ConnMark, NetNS: fd})
		reason := error(unix.EBADF)
		if i >= 2 {
			reason = netns.ErrNotNetNS
		}
		if !errors.Is(err, ErrConfig) || !errors.Is(err, reason) {
			t.Errorf("descriptor %d: %v", fd, err)
		}
	}
	if _, err := New(Config{Backend: 9, NetNS: labtest.New(t).FD()}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	if now := descriptors(t); now > before+1 { // the namespace's
		t.Errorf("%d descriptors are open, before %d", now, before)
	}
}

// descriptors returns how many are open.
func descriptors(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// tablesIn returns the tables of family inet.
func tablesIn(t testing.TB, ns *netlab.NS) []*nftables.Table {
	t.Helper()
	nft, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	tables, err := nft.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		t.Fatal(err)
	}
	return tables
}
