package ipq

import (
	"errors"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// leavesNothing fails the test if attempts leave
// descriptors or goroutines behind.
func leavesNothing(t *testing.T, what string, attempt func()) {
	t.Helper()
	attempt() // what is made once stays
	// The garbage collector closes files, too.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before, fds := goroutines(), descriptors(t)
	for range 5 {
		attempt()
	}
	settle(t, "goroutines after "+what, before, goroutines)
	settle(t, "descriptors after "+what, fds, func() int { return descriptors(t) })
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
