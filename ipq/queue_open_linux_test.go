package ipq

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

func TestBindMessage(t *testing.T) {
	f := newFake(t)
	f.open(Config{MaxQueueLen: 77, SnapLen: 128, FailOpen: true, GSO: true})
	c := f.Configs()
	if len(c) != 1 {
		t.Fatalf("%d config messages before packets can come, want 1: %v", len(c), c)
	}
	for typ, want := range map[uint16]string{
		zerocopy.CfgCmd: "\x01\x00\x00\x00", zerocopy.CfgParams: "\x00\x00\x00\x80\x02", zerocopy.CfgQueueMaxlen: "\x00\x00\x00\x4d",
		zerocopy.CfgFlags: "\x00\x00\x00\x05", zerocopy.CfgMask: "\x00\x00\x00\x05",
	} {
		if string(c[0][typ]) != want {
			t.Errorf("attribute %d: %q, want %q", typ, c[0][typ], want)
		}
	}
}

// A receive buffer smaller than asked for is worth a line in the log, and the
// size granted is in Stats.
func TestSmallReadBufferIsLogged(t *testing.T) {
	f := newFake(t)
	var log syncBuffer
	const asked = 1 << 31 / 2 // more than net.core.rmem_max allows
	q := f.open(Config{ReadBuffer: asked, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	granted := q.Stats().ReadBuffer
	if logged := strings.Contains(log.String(), "rmem_max"); granted <= 0 || logged != (granted < asked) {
		t.Errorf("%d bytes granted; log: %s", granted, log.String())
	}
	if got := newFake(t).open(Config{ReadBuffer: 100_000}).Stats().ReadBuffer; got != 100_000 {
		t.Errorf("asked for 100000 bytes, Stats tells %d", got)
	}
}

// Only what was asked for is named as missing.
func TestMissingFeaturesAreThoseAskedFor(t *testing.T) {
	f := newFake(t)
	f.Refuse(func(c fakekernel.Config) syscall.Errno { // knows FailOpen only
		if b := c[zerocopy.CfgFlags]; len(b) == 4 && b[3] != zerocopy.FlagFailOpen {
			return syscall.EOPNOTSUPP
		}
		return syscall.ENODEV
	})
	cfg, err := Config{Queue: fakeNumber, GSO: true, FailOpen: true, UIDGID: true}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var missing *FeatureError
	if _, err := openQueue(cfg, f.dial); !errors.As(err, &missing) || !slices.Equal(missing.Features, []string{"GSO", "UIDGID"}) {
		t.Errorf("Open: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	const eperm, eopnotsupp, enodev, enomem = syscall.EPERM, syscall.EOPNOTSUPP, syscall.ENODEV, syscall.ENOMEM
	bind := func(c fakekernel.Config) bool {
		return len(c[zerocopy.CfgCmd]) > 0 && c[zerocopy.CfgCmd][0] == zerocopy.CmdBind
	}
	for _, x := range []struct {
		what   string
		kernel func(fakekernel.Config) syscall.Errno
		is     error
		as     func(error) bool
		says   string
	}{
		{"no capability", func(fakekernel.Config) syscall.Errno { return eperm },
			fs.ErrPermission, func(err error) bool { return errors.As(err, new(*CapabilityError)) }, "CAP_NET_ADMIN"},
		{"taken", func(c fakekernel.Config) syscall.Errno {
			if bind(c) {
				return eperm
			}
			return 0
		}, syscall.EBUSY, func(err error) bool { return errors.As(err, new(*TakenError)) }, "queue 7"},
		{"flag", func(c fakekernel.Config) syscall.Errno {
			if f := c[zerocopy.CfgFlags]; len(f) == 4 && f[3]&zerocopy.FlagConntrack != 0 {
				return eopnotsupp
			}
			return enodev
		}, errors.ErrUnsupported, func(err error) bool {
			var f *FeatureError
			return errors.As(err, &f) && len(f.Features) == 1 && f.Features[0] == "Conntrack"
		}, "Config.Conntrack"},
		{"other", func(fakekernel.Config) syscall.Errno { return enomem },
			enomem, func(error) bool { return true }, "queue 7: bind"},
	} {
		f := newFake(t)
		f.Refuse(x.kernel)
		cfg, err := Config{Queue: fakeNumber, Conntrack: true, GSO: true}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		q, err := openQueue(cfg, f.dial)
		if q != nil || !errors.Is(err, x.is) || !x.as(err) || !strings.Contains(err.Error(), x.says) || !errors.As(err, new(*OpError)) {
			t.Errorf("%s: %v", x.what, err)
		}
	}
}

func TestKernelRefusesATakenQueue(t *testing.T) {
	ns := labtest.New(t)
	first, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	// The second of these is taken; the others must be free again afterwards.
	second, err := Open(Config{Queue: fakeNumber - 1, Queues: 3, NetNS: ns.FD()})
	var taken *TakenError
	var op *OpError
	if second != nil || !errors.As(err, &taken) || !errors.Is(err, syscall.EBUSY) || !errors.As(err, &op) || op.Queue != fakeNumber {
		t.Fatalf("second Open: %v", err)
	}
	if queues, err := ns.QueueStats(); netlab.Privileged() && (err != nil || len(queues) != 1 || taken.PortID != queues[0].PortID) {
		t.Errorf("taken by port id %d; bound: %+v, %v", taken.PortID, queues, err)
	}
	third, err := Open(Config{Queue: fakeNumber - 1, NetNS: ns.FD()})
	if err != nil {
		t.Fatalf("a queue that the failed Open had bound: %v", err)
	}
	third.Close()
	first.Close()
	fourth, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD()})
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	fourth.Close()
}

// Conntrack works, or the error names it and nothing else.
func TestKernelRefusesAnUnknownFlag(t *testing.T) {
	ns := labtest.New(t)
	q, err := Open(Config{NetNS: ns.FD(), Conntrack: true, FailOpen: true, GSO: true, UIDGID: true})
	if err == nil {
		q.Close()
		t.Log("this kernel has conntrack attributes")
		return
	}
	var f *FeatureError
	if !errors.As(err, &f) || len(f.Features) != 1 || f.Features[0] != "Conntrack" || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Open: %v", err)
	}
	// Nothing of the refused configuration stays.
	q, err = Open(Config{NetNS: ns.FD(), FailOpen: true})
	if err != nil {
		t.Fatalf("the queue is not free: %v", err)
	}
	q.Close()
}

// Without CAP_NET_ADMIN the error says so. The capability is dropped in a
// process of its own.
func TestKernelRefusesWithoutCapability(t *testing.T) {
	labtest.Need(t)
	if os.Getenv(helperEnv) == "no capability" {
		dropCapabilities(t)
		_, err := Open(Config{})
		var c *CapabilityError
		if !errors.As(err, &c) || c.Capability != "CAP_NET_ADMIN" || !errors.Is(err, fs.ErrPermission) || errors.As(err, new(*TakenError)) {
			t.Errorf("Open: %v", err)
		}
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKernelRefusesWithoutCapability$", "-test.v")
	cmd.Env = append(os.Environ(), helperEnv+"=no capability")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A failed Open closes the sockets of the queues before it, and its own.
func TestFailedOpenClosesSockets(t *testing.T) {
	kernels := [2]*fakeQueue{newFake(t), newFake(t)}
	kernels[1].Refuse(func(fakekernel.Config) syscall.Errno { return syscall.ENOMEM })
	cfg, err := Config{Queue: fakeNumber, Queues: 2}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openQueue(cfg, func(cfg *Config, queue uint16) (*socket, error) {
		return kernels[queue-fakeNumber].dial(cfg, queue)
	}); !errors.Is(err, syscall.ENOMEM) {
		t.Fatalf("Open: %v", err)
	}
	for i, k := range kernels {
		if _, err := k.Queue(fakekernel.Packet{}); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the socket of queue %d is open: %v", i, err)
		}
	}
}

// However Open, Dial and FromFile fail, nothing of the attempt stays.
func TestKernelFailedOpenLeavesNothing(t *testing.T) {
	labtest.Need(t)
	if os.Getenv(helperEnv) == "no rights" {
		dropCapabilities(t)
		for _, workers := range []int{2, Inline} {
			leavesNothing(t, "no rights", func() {
				q, err := Open(Config{Workers: workers, Batches: 1, BatchSize: 1})
				c, derr := Dial(Config{BatchSize: 1})
				if q != nil || c != nil || !errors.Is(err, fs.ErrPermission) || !errors.Is(derr, fs.ErrPermission) {
					t.Errorf("Open: %v; Dial: %v", err, derr)
				}
			})
		}
		return
	}
	ns := labtest.New(t)
	open := func(t *testing.T, cfg Config) *Queue {
		cfg.NetNS = ns.FD()
		q, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	// Of the queues from 10 on, 12 is taken.
	taken := open(t, Config{Queue: 12, Workers: Inline})
	defer taken.Close()
	free := open(t, Config{Queue: 20, Workers: Inline})
	defer free.Close()
	file, err := free.File(0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cpus := new(unix.CPUSet)
	if err := unix.SchedGetaffinity(0, cpus); err != nil {
		t.Fatal(err)
	}
	const nowhere = 1 << 20 // no descriptor

	for _, x := range []struct {
		what  string
		cfg   Config
		files []*os.File // for FromFile
		is    error
	}{
		{what: "taken", cfg: Config{Queue: 12}, is: syscall.EBUSY},
		{what: "the last of three is taken", cfg: Config{Queue: 10, Queues: 3}, is: syscall.EBUSY},
		{what: "taken, pinned", cfg: Config{Queue: 12, PinCPU: true}, is: syscall.EBUSY},
		{what: "no namespace", cfg: Config{NetNS: int(null.Fd())}, is: syscall.EINVAL},
		{what: "no descriptor", cfg: Config{NetNS: nowhere}, is: syscall.EBADF},
		{what: "wrong config", cfg: Config{Queues: -1}},
		{what: "more queues than CPUs", cfg: Config{Queues: cpus.Count() + 1, PinCPU: true}},
		{what: "no file", cfg: Config{Queue: 20}, files: []*os.File{}, is: os.ErrInvalid},
		{what: "no socket", cfg: Config{Queue: 20}, files: []*os.File{null}, is: syscall.ENOTSOCK},
		{what: "one of two is no socket", cfg: Config{Queue: 20, Queues: 2}, files: []*os.File{file, null}, is: syscall.ENOTSOCK},
		{what: "a socket, no namespace", cfg: Config{Queue: 20, NetNS: nowhere}, files: []*os.File{file}, is: syscall.EBADF},
	} {
		for _, workers := range []int{2, Inline} {
			x.cfg.Workers, x.cfg.Batches, x.cfg.BatchSize = workers, 1, 1
			if x.cfg.NetNS == 0 {
				x.cfg.NetNS = ns.FD()
			}
			leavesNothing(t, x.what, func() {
				var q *Queue
				var err error
				if x.files == nil {
					q, err = Open(x.cfg)
				} else {
					q, err = FromFile(x.cfg, x.files...)
				}
				if q != nil || err == nil || x.is != nil && !errors.Is(err, x.is) {
					t.Errorf("%s: %v", x.what, err)
				}
				if x.files == nil && x.cfg.Queues <= 1 && !x.cfg.PinCPU {
					if c, err := Dial(x.cfg); c != nil || err == nil {
						t.Errorf("%s: Dial: %v", x.what, err)
					}
				}
			})
		}
	}

	c := startChild(t, ns, "no rights")
	c.end()
}

// When descriptors run out, wherever that is, Open says so and closes those it
// has got.
func TestKernelOpenWithoutDescriptors(t *testing.T) {
	ns := labtest.New(t)
	cfg := Config{Queue: fakeNumber, Queues: 2, NetNS: ns.FD(), Workers: 2, Batches: 1, BatchSize: 1}
	q, err := Open(cfg) // so that the runtime's own are there
	if err != nil {
		t.Fatal(err)
	}
	q.Close()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // see leavesNothing
	before, fds := goroutines(), descriptors(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	defer restore()
	failures := 0
	for n := uint64(0); ; n++ {
		if n > 100 {
			t.Fatal("Open needs more than 100 descriptors")
		}
		next, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0) // the lowest that is free
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(next)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next) + n, Max: limit.Max}); err != nil {
			t.Fatal(err)
		}
		q, err := Open(cfg)
		restore()
		if err == nil {
			q.Close()
		} else if failures++; !errors.Is(err, syscall.EMFILE) || q != nil {
			t.Errorf("with %d descriptors: %v", n, err)
		}
		settle(t, "goroutines", before, goroutines)
		settle(t, "descriptors", fds, func() int { return descriptors(t) })
		if err == nil {
			break
		}
	}
	if failures < 4 {
		t.Errorf("Open failed %d times for want of descriptors", failures)
	}
}

// One of many who open a queue at the same time gets it, and whoever closes it
// leaves it free.
func TestKernelOpenRaces(t *testing.T) {
	ns := labtest.New(t)
	leavesNothing(t, "a race", func() { openRace(t, ns) })
	if q, err := Open(Config{Queue: 10, Queues: 3, NetNS: ns.FD()}); err != nil {
		t.Error(err)
	} else {
		q.Close()
	}
}

func openRace(t *testing.T, ns *netlab.NS) {
	t.Helper()
	const many = 8
	results := make(chan *Queue, many)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			q, err := Open(Config{Queue: uint16(10 + i%3), Queues: 1 + i%2, NetNS: ns.FD(), Workers: 1 + i%2, Batches: 1, BatchSize: 1})
			if (q == nil) == (err == nil) || err != nil && !errors.As(err, new(*TakenError)) {
				t.Errorf("queue %d: %v", 10+i%3, err)
			}
			if q != nil {
				results <- q
			}
		})
	}
	all.Wait()
	close(results)
	if len(results) == 0 {
		t.Error("nobody got a queue")
	}
	for q := range results {
		for range 2 {
			all.Go(func() {
				if err := q.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
}
