package flood

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

// startIn starts a flood inside ns; it ends with the test at the latest.
func startIn(t *testing.T, ns *netlab.NS, cfg Config) *Flood {
	t.Helper()
	var f *Flood
	err := ns.Do(func() (err error) {
		f, err = Start(t.Context(), cfg)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Stop() })
	return f
}

func wait(t *testing.T, f *Flood) Stats {
	t.Helper()
	s, err := f.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if f.Stats() != s {
		t.Errorf("Stats after the end is %+v, Wait said %+v", f.Stats(), s)
	}
	if s.Elapsed <= 0 || s.CPU <= 0 || s.UserCPU > s.CPU {
		t.Errorf("Elapsed %v, CPU %v, %v of it user: want more than zero, and a part", s.Elapsed, s.CPU, s.UserCPU)
	}
	s.Elapsed, s.CPU, s.UserCPU = 0, 0, 0
	return s
}

// patience is how long a test waits for what should come soon. Only a failure
// takes so long.
const patience = 2 * time.Minute

// waitUntil polls what has no event to wait for.
func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func TestClosedLoop(t *testing.T) {
	ns := labtest.New(t)
	for _, cfg := range []Config{
		{Count: 3000, Window: 64},
		{Count: 3000, Window: 64, IPv6: true},
		{Count: 500, Window: 1, Flows: 1},
		{Count: 1000, Window: 7, Burst: 3, Size: 36, Flows: 1 << 16},
		{Count: 1000, Window: 100, Burst: 1, Size: 56, IPv6: true},
		{Count: 100, Window: 2, Size: 65535},
		{Count: 100, Window: 2, Size: 65535, IPv6: true},
		{Count: 1000, Window: 16, CPUs: []int{0}},
	} {
		t.Run(fmt.Sprintf("%+v", cfg), func(t *testing.T) {
			want := Stats{Sent: cfg.Count, Replies: cfg.Count}
			cfg.Timeout = patience
			got := wait(t, startIn(t, ns, cfg))
			got.Refused = 0 // a small wmem_max may delay a request
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// Two closed loops share a namespace's replies and keep them apart.
func TestClosedLoopsSideBySide(t *testing.T) {
	ns := labtest.New(t)
	cfg := Config{Count: 5000, Window: 16, Timeout: patience}
	a, b := startIn(t, ns, cfg), startIn(t, ns, cfg)
	want := Stats{Sent: cfg.Count, Replies: cfg.Count}
	if sa, sb := wait(t, a), wait(t, b); sa != want || sb != want {
		t.Errorf("got %+v and %+v, want %+v of both", sa, sb, want)
	}
}

// Requests that nobody answers are lost, and the window moves on past them.
func TestLoss(t *testing.T) {
	ns := labtest.New(t)
	if _, err := ns.InstallDrop(netlab.Input, 0, netlab.Match{EchoRequest: true}); err != nil {
		t.Fatal(err)
	}
	for _, ipv6 := range []bool{false, true} {
		f := startIn(t, ns, Config{IPv6: ipv6, Count: 100, Window: 40, Timeout: 30 * time.Millisecond})
		if got, want := wait(t, f), (Stats{Sent: 100, Lost: 100}); got != want {
			t.Errorf("IPv6 %v: got %+v, want %+v", ipv6, got, want)
		}
	}
}

// A rule that drops on OUTPUT fails the sender's own call.
func TestDroppedAtOutput(t *testing.T) {
	ns := labtest.New(t)
	if _, err := ns.InstallDrop(netlab.Output, 0, netlab.Match{EchoRequest: true}); err != nil {
		t.Fatal(err)
	}
	if got, want := wait(t, startIn(t, ns, Config{Count: 1000})), (Stats{Sent: 1000, Dropped: 1000}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// The kernel's count of packets is the flood's own.
func TestKernelCount(t *testing.T) {
	ns := labtest.New(t)
	rules, err := ns.InstallCounter(netlab.Output, 0,
		netlab.Match{EchoRequest: true, Family: unix.AF_INET}, netlab.Match{EchoRequest: true, Family: unix.AF_INET6})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, startIn(t, ns, Config{Count: 1001, Size: 100}))
	wait(t, startIn(t, ns, Config{Count: 777, Size: 200, IPv6: true, Rate: 1e6}))
	got, err := rules.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if want := [2]netlab.Counter{{Packets: 1001, Bytes: 100100}, {Packets: 777, Bytes: 155400}}; [2]netlab.Counter(got) != want {
		t.Errorf("the kernel counted %+v, want %+v", got, want)
	}
}

func TestPaced(t *testing.T) {
	ns := labtest.New(t)
	const count, rate = 2000, 20000
	f := startIn(t, ns, Config{Count: count, Rate: rate})
	s, err := f.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if s.Sent != count || s.Refused != 0 {
		t.Errorf("sent %d, refused %d, want %d and 0", s.Sent, s.Refused, count)
	}
	// However busy the machine, no packet goes out before its turn.
	if first := time.Duration(count-1) * time.Second / rate; s.Elapsed < first {
		t.Errorf("the last packet went out after %v, its turn came after %v", s.Elapsed, first)
	}
	if s.MaxLag <= 0 || s.MaxLag > s.Elapsed {
		t.Errorf("MaxLag %v of %v elapsed", s.MaxLag, s.Elapsed)
	}
}

func TestStop(t *testing.T) {
	ns := labtest.New(t)
	for _, cfg := range []Config{{}, {Rate: 1000}, {Window: 8}, {Rate: 1e-3}} {
		f := startIn(t, ns, cfg)
		pid := f.cmd.Process.Pid
		waitUntil(t, "the first packet", func() bool { return f.Stats().Sent > 0 })
		s, err := f.Stop()
		if err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("%+v: the child is still there: %v", cfg, err)
		}
		if s.Replies+s.Lost != s.Sent && cfg.Window > 0 {
			t.Errorf("%+v: %d replies and %d lost of %d", cfg, s.Replies, s.Lost, s.Sent)
		}
		if again, err := f.Stop(); again != s || err != nil {
			t.Errorf("%+v: second Stop gives %+v, %v; the first %+v", cfg, again, err, s)
		}
	}
}

func TestContextEndsFlood(t *testing.T) {
	labtest.Need(t)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	f, err := Start(ctx, Config{Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the first packet", func() bool { return f.Stats().Sent > 0 })
	cancel(cause)
	s, err := f.Wait()
	if !errors.Is(err, cause) || s.Sent == 0 {
		t.Errorf("got %+v, %v; want packets sent and the context's cause", s, err)
	}
	if _, err := Start(ctx, Config{}); !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
		t.Errorf("Start under an ended context: %v", err)
	}
}

// Control-C at a terminal reaches parent and child; the child leaves the end to
// its parent.
func TestInterruptIsTheParents(t *testing.T) {
	f := startIn(t, labtest.New(t), Config{Rate: 1000})
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGHUP} {
		before := f.Stats().Sent
		if err := f.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, "packets after a "+sig.String(), func() bool { return f.Stats().Sent > before+10 })
	}
	if _, err := f.Stop(); err != nil {
		t.Error(err)
	}
}

// Live figures grow and never exceed the last ones.
func TestLiveStats(t *testing.T) {
	f := startIn(t, labtest.New(t), Config{})
	waitUntil(t, "1000 packets", func() bool { return f.Stats().Sent > 1000 })
	live := f.Stats()
	final, err := f.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if live.CPU <= 0 || live.Elapsed <= 0 {
		t.Errorf("live CPU %v, Elapsed %v", live.CPU, live.Elapsed)
	}
	if live.Sent > final.Sent || live.Elapsed > final.Elapsed {
		t.Errorf("live %+v exceeds final %+v", live, final)
	}
}

// 65536 replies of 64 KiB are more than any socket may hold.
func TestWindowBeyondReceiveBuffer(t *testing.T) {
	labtest.Need(t)
	_, err := Start(t.Context(), Config{Window: 1 << 16, Size: 65535})
	if !errors.Is(err, ErrConfig) {
		t.Errorf("error %v, want ErrConfig", err)
	}
}

func TestUnknownCPU(t *testing.T) {
	labtest.Need(t)
	_, err := Start(t.Context(), Config{CPUs: []int{1023}})
	if !errors.Is(err, ErrConfig) {
		t.Errorf("pinned to CPU 1023: error %v, want ErrConfig", err)
	}
}
