package ipq

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/zerocopy"
)

// What the kernel's answers come to, and what to do.
func TestSupportOfAnswers(t *testing.T) {
	all := uint32(zerocopy.FlagFailOpen | zerocopy.FlagConntrack | zerocopy.FlagGSO | zerocopy.FlagUIDGID | zerocopy.FlagSecCtx)
	good := nfsock.Answers{Flags: all, ReadBuffer: 1 << 30}
	with := func(change func(*nfsock.Answers)) nfsock.Answers {
		a := good
		change(&a)
		return a
	}
	for _, x := range []struct {
		name    string
		answers nfsock.Answers
		ready   bool
		feature func(*Support) *Feature
		state   FeatureState
		remedy  string // a part of it
	}{
		{"good", good, true, func(s *Support) *Feature { return &s.Queues }, Present, ""},
		{"good", good, true, func(s *Support) *Feature { return &s.NetAdmin }, Present, ""},
		{"good", good, true, func(s *Support) *Feature { return &s.NetRaw }, Present, ""},
		{"good", good, true, func(s *Support) *Feature { return &s.SecCtx }, Present, ""},
		{"good", good, true, func(s *Support) *Feature { return &s.Buffer }, Present, ""},
		{"no right", with(func(a *nfsock.Answers) { a.Errno, a.Flags = unix.EPERM, 0 }), false,
			func(s *Support) *Feature { return &s.NetAdmin }, Missing, "cap_net_admin"},
		{"no right", with(func(a *nfsock.Answers) { a.Errno, a.Flags = unix.EPERM, 0 }), false,
			func(s *Support) *Feature { return &s.GSO }, Untried, ""},
		{"no module", with(func(a *nfsock.Answers) { a.Errno, a.Flags = unix.EINVAL, 0 }), false,
			func(s *Support) *Feature { return &s.Queues }, Missing, "modprobe nfnetlink_queue"},
		{"no raw socket", with(func(a *nfsock.Answers) { a.RawErr = unix.EPERM }), true,
			func(s *Support) *Feature { return &s.NetRaw }, Missing, "CAP_NET_RAW"},
		{"no flag", with(func(a *nfsock.Answers) { a.Flags &^= zerocopy.FlagConntrack }), true,
			func(s *Support) *Feature { return &s.Conntrack }, Missing, "GLUE_CT"},
		{"stock rmem_max", with(func(a *nfsock.Answers) { a.ReadBuffer = 2 * 212992 }), true,
			func(s *Support) *Feature { return &s.Buffer }, Limited, "net.core.rmem_max=1179648"},
	} {
		var s Support
		s.askedHere(x.answers)
		f := x.feature(&s)
		if s.Ready() != x.ready || f.State != x.state || !strings.Contains(f.Remedy, x.remedy) || (f.Remedy == "") != (x.remedy == "") || f.Detail == "" {
			t.Errorf("%s: ready %v, %+v", x.name, s.Ready(), f)
		}
	}
	names := 0
	for name, f := range new(Support).All() {
		if names++; f.State != Untried || name == "" {
			t.Errorf("%s of nothing is %v", name, f.State)
		}
	}
	if names != 16 {
		t.Errorf("%d features", names)
	}
}

// What Probe says is what Open and rules meet.
func TestKernelProbe(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	var s Support
	if err := ns.Do(func() (err error) {
		s, err = Probe()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for name, f := range s.All() {
		t.Logf("%-12s %-8v %s %s %v", name, f.State, f.Detail, f.Remedy, f.Err)
	}
	if !s.Ready() || s.Kernel == "" || s.NetRaw.State != Present || s.MaxQueueLen == 0 || s.Offload.State == Limited {
		t.Errorf("%+v", s)
	}
	for flag, x := range map[string]struct {
		f   Feature
		cfg Config
	}{
		"FailOpen": {s.FailOpen, Config{FailOpen: true}}, "GSO": {s.GSO, Config{GSO: true}}, "Conntrack": {s.Conntrack, Config{Conntrack: true}},
		"UIDGID": {s.UIDGID, Config{UIDGID: true}}, "SecCtx": {s.SecCtx, Config{SecCtx: true}},
	} {
		cfg := x.cfg
		cfg.NetNS = ns.FD()
		q, err := Open(cfg)
		if (err == nil) != (x.f.State == Present) {
			t.Errorf("%s is %v, and Open says: %v", flag, x.f.State, err)
		}
		if err == nil {
			q.Close()
		}
	}
	native, err := netlab.ProbeQueueExpr(ns)
	if err != nil || native != (s.QueueRule.State == Present) {
		t.Errorf("nft's queue expression: %v, %v; Probe says %v", native, err, s.QueueRule.State)
	}
	if !native && s.QueueTarget.State != Present {
		t.Errorf("the NFQUEUE target: %+v", s.QueueTarget)
	}
	if s.Datagrams.State == Untried {
		t.Errorf("datagrams: %+v", s.Datagrams)
	}
}

// Flows that a flowtable has pass no queue, and Probe says so.
func TestKernelProbeSeesFlowtables(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	if err := netlab.Veth(ns, "a", ns, "b"); err != nil {
		t.Fatal(err)
	}
	err := ns.Do(func() error {
		nft, err := nftables.New()
		if err != nil {
			return err
		}
		table := nft.AddTable(&nftables.Table{Name: "fast", Family: nftables.TableFamilyINet})
		nft.AddFlowtable(&nftables.Flowtable{Table: table, Name: "offloaded", Devices: []string{"a", "b"}})
		if err := nft.Flush(); err != nil {
			return err
		}
		s, err := Probe()
		if s.Offload.State != Limited || !strings.Contains(s.Offload.Detail, "fast offloaded") {
			t.Errorf("%+v", s.Offload)
		}
		return err
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		t.Skipf("this kernel has no flowtables: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// Probe leaves nothing in the namespace, and disturbs nothing there: not a queue with the
// number that it asks about, either.
func TestKernelProbeDisturbsNothing(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	const last = 0xffff
	echoRules(t, ns, last, 1)
	before := tables(t, ns)
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	q, stop := serve(t, Config{Queue: last, NetNS: ns.FD(), Workers: Inline}, accept)
	const packets = 2000
	f := startFlood(t, ns, flood.Config{Count: packets, Window: 16})
	done := make(chan flood.Stats, 1)
	go func() {
		s, err := f.Wait()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		done <- s
	}()
	probed := 0
	for running := true; running || probed == 0; probed++ {
		if err := ns.Do(func() error { _, err := Probe(); return err }); err != nil {
			t.Fatal(err)
		}
		select {
		case s := <-done:
			running = false
			if s.Replies != packets {
				t.Errorf("%+v", s)
			}
		default:
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if s := q.Stats(); s.Accepted != packets || s.UnknownVerdicts+s.RefusedVerdicts != 0 {
		t.Errorf("%+v", s)
	}
	if after := tables(t, ns); after != before {
		t.Errorf("%d tables, %d before", after, before)
	}
	if now, err := os.Readlink("/proc/self/ns/net"); now != here {
		t.Errorf("the program is in %s, and was in %s, %v", now, here, err)
	}
}

func tables(t *testing.T, ns *netlab.NS) (n int) {
	t.Helper()
	if err := ns.Do(func() error {
		nft, err := nftables.New()
		if err != nil {
			return err
		}
		all, err := nft.ListTables()
		n = len(all)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// Without rights Probe says so, and what it could not try.
func TestKernelProbeWithoutRights(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	if err := ns.Do(func() error {
		runtime.LockOSThread() // which dies with its goroutine, and with it its lack of rights
		if err := dropCapability(unix.CAP_SYS_ADMIN); err != nil {
			return err
		}
		s, err := Probe()
		if err != nil {
			return err
		}
		if !s.Ready() || s.GSO.State != Present || s.QueueRule.State != Untried || s.QueueRule.Err == nil {
			t.Errorf("without CAP_SYS_ADMIN: %+v", s)
		}
		if err := dropNetAdmin(); err != nil {
			return err
		}
		if s, err = Probe(); err != nil {
			return err
		}
		var capability *CapabilityError
		if s.Ready() || s.NetAdmin.State != Missing || !errors.As(s.NetAdmin.Err, &capability) || s.GSO.State != Untried {
			t.Errorf("without CAP_NET_ADMIN: %+v", s)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Where the kernel has no queues, Open says which module is missing, and how to get it.
func TestOpenWithoutModule(t *testing.T) {
	f := newFake(t)
	f.Refuse(func(fakekernel.Config) syscall.Errno { return syscall.EINVAL })
	cfg, err := Config{Queue: fakeNumber}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	_, err = openQueue(cfg, f.dial)
	var module *ModuleError
	if !errors.As(err, &module) || module.Module != "nfnetlink_queue" || !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, syscall.EINVAL) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"nfnetlink_queue is not loaded", "modprobe nfnetlink_queue", "kmod-nfnetlink-queue on OpenWrt"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	// Another thing that it takes for nonsense is no lack of a module.
	f = newFake(t)
	f.Refuse(func(c fakekernel.Config) syscall.Errno {
		if c[zerocopy.CfgCmd][0] == zerocopy.CmdBind {
			return syscall.EINVAL
		}
		return 0
	})
	if _, err = openQueue(cfg, f.dial); !errors.Is(err, syscall.EINVAL) || errors.As(err, &module) {
		t.Errorf("%v", err)
	}
}
