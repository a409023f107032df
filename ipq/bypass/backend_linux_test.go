package bypass

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// envUnprivileged marks a process without privileges in the initial user
// namespace.
const envUnprivileged = "GOIPQ_BYPASS_TEST_UNPRIVILEGED"

// Who may not load programs gets connection marks, and is told; or an error, if
// marks are not enough or not wanted.
func TestWithoutPrivileges(t *testing.T) {
	labtest.Need(t)
	if netlab.Privileged() {
		cmd := exec.Command("/proc/self/exe", "-test.run=^(TestWithoutPrivileges|TestSettledDrops)$", "-test.v")
		cmd.Env = append(os.Environ(), envUnprivileged+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestWithoutPrivileges") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	var log bytes.Buffer
	b, err := New(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Backend() != ConnMark || !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "connection marks") {
		t.Errorf("%v, log %q", b.Backend(), &log)
	}
	if _, err := b.Table().Counters(); !errors.Is(err, ErrNoTable) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Counters: %v", err)
	}
	for _, cfg := range []Config{
		{Backend: EBPF}, {Limits: Limits{MaxPackets: 1}}, {Limits: Limits{MaxBytes: 1}}, {Lease: time.Second}, {PinDir: "/sys/fs/bpf/x"},
	} {
		b, err := New(cfg)
		var unavailable *UnavailableError
		if b != nil || !errors.As(err, &unavailable) || !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, fs.ErrPermission) && cfg.Backend == EBPF {
			t.Errorf("%+v: %v", cfg, err)
		}
		if strings.Contains(err.Error(), "MEMLOCK") { // no limit of memory is in the way
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// A kernel that loads the programs, but has no match to run them, gets marks,
// too, unless these are not enough.
func TestWithoutTheMatch(t *testing.T) {
	needBPF(t)
	ns := labtest.New(t)
	const noMatch = "goipq_none"
	var log bytes.Buffer
	cfg := Config{NetNS: ns.FD(), Logger: slog.New(slog.NewTextHandler(&log, nil))}
	for _, tt := range []struct {
		match  string
		limits Limits
		want   Backend
	}{{xtBPF, Limits{}, EBPF}, {noMatch, Limits{}, ConnMark}, {noMatch, Limits{MaxPackets: 1}, EBPF}} {
		log.Reset()
		cfg.Limits = tt.limits
		b, err := newBypasserFor(cfg, kernel{match: tt.match, before511: isBefore511()})
		if err != nil {
			t.Fatal(err)
		}
		if fell := strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), noMatch); b.Backend() != tt.want || fell != (tt.want == ConnMark) {
			t.Errorf("%s, %+v: %v, log %q", tt.match, tt.limits, b.Backend(), &log)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Kernels before Linux 5.11 lack a helper that the programs call: they read the
// exact time there, and decide the same.
func TestBeforeLinux511(t *testing.T) {
	spec, err := loadKernel()
	if err != nil {
		t.Fatal(err)
	}
	exactTime(spec)
	exact := 0
	for _, p := range spec.Programs {
		for _, in := range p.Instructions {
			if in.IsBuiltinCall() && in.Constant == int64(asm.FnKtimeGetCoarseNs) {
				t.Errorf("%s: %v is left", p.Name, in)
			} else if in.IsBuiltinCall() && in.Constant == int64(asm.FnKtimeGetNs) {
				exact++
			}
		}
	}
	if exact != len(spec.Programs) {
		t.Errorf("the time is read %d times in %d programs", exact, len(spec.Programs))
	}

	needBPF(t)
	b, err := newBypasserFor(Config{Backend: EBPF, Size: 64}, kernel{match: xtBPF, before511: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	table := b.Table()
	packet := ip4(protoUDP, 0, 0, ports(1, 2))
	for _, tt := range []struct {
		v      ipq.Verdict
		limits Limits
		want   string
	}{
		{ipq.Accept, Limits{Timeout: time.Hour}, "accept"},
		{ipq.Drop, Limits{Timeout: time.Hour}, "drop"},
		{ipq.Accept, Limits{Timeout: time.Nanosecond}, "queue"},
	} {
		if err := table.Insert(udpFlow, tt.v, tt.limits); err != nil {
			t.Fatal(err)
		}
		if got := table.decision(t, packet); got != tt.want {
			t.Errorf("%v, %+v: %s, want %s", tt.v, tt.limits, got, tt.want)
		}
	}
}

// What marks say is for the rules, beside what the handler's own say.
func TestMarks(t *testing.T) {
	ns := labtest.New(t)
	b := newBypasser(t, ns, Config{Backend: ConnMark})
	if _, err := b.Install(Rules{Hook: ipq.Output, Priority: -200}); !errors.Is(err, ErrConfig) {
		t.Errorf("where connections are not known yet: %v", err)
	}
	install(t, b, Rules{Hook: ipq.Output})
	if v := b.mark(nil, ipq.Drop.WithMark(7)); v != ipq.Accept.WithMark(7|DefaultDropMark) {
		t.Error(v)
	}
	if v := b.mark(nil, ipq.Accept.WithMark(7|DefaultDropMark)); v != ipq.Accept.WithMark(7|DefaultAcceptMark) {
		t.Error(v)
	}
	if _, err := b.Install(Rules{Hook: ipq.Input}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second table of that name: %v", err)
	}
}

func TestBadConfigs(t *testing.T) {
	for _, cfg := range []Config{
		{Size: -1}, {Size: maxSize + 1}, {Lease: time.Millisecond}, {Lease: -time.Second}, {Backend: 9}, {NetNS: -1},
		{AcceptMark: 3, DropMark: 2}, {AcceptMark: DefaultDropMark},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	for _, r := range []Rules{
		{Hook: 5}, {Table: "a-b"}, {Table: strings.Repeat("x", 256)}, {Priority: 1<<31 - 1}, {Queues: -1}, {Queue: 65535, Queues: 2},
		{Match: []Match{{Family: 7}}}, {Match: []Match{{Port: 5}}}, {Match: []Match{{Port: 5, Protocol: 1}}},
		{Match: []Match{{EchoRequest: true, Protocol: 1}}}, {Match: []Match{{InDev: strings.Repeat("x", 16)}}},
	} {
		if _, err := r.withDefaults(); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	b := &Bypasser{}
	h := ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept })
	for _, i := range []Inspection{{}, {Packets: 1, Flows: -1}} {
		if _, err := b.Inspect(h, i); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", i, err)
		}
	}
	if _, err := b.Inspect(nil, Inspection{Packets: 1}); !errors.Is(err, ErrConfig) {
		t.Errorf("no handler: %v", err)
	}
}
