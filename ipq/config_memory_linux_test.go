package ipq

import (
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab/labtest"
)

// What memory cannot hold is an error that names the fields, and nothing is
// bound or allocated.
func TestKernelMemoryCannotHoldTheBounds(t *testing.T) {
	ns := labtest.New(t)
	for what, cfg := range map[string]Config{
		"buffers": {Queues: maxQueues, Batches: maxBatches, BatchSize: maxBatchSize, Workers: Inline},
		"a pool":  {Queues: maxQueues, Batches: maxBatches, BatchSize: maxBatchSize, Workers: maxWorkers},
		"workers": {Queues: maxQueues, Workers: maxWorkers, Batches: 1, BatchSize: maxBatchSize},
		"copies":  {Queues: maxQueues, MaxQueueLen: maxMaxQueueLen, MaxDeferred: maxMaxQueueLen, Workers: Inline},
	} {
		cfg.NetNS = ns.FD()
		leavesNothing(t, what, func() {
			q, err := Open(cfg)
			if q != nil || err == nil {
				t.Fatalf("%s: opened", what)
			}
			for _, field := range []string{"Queues", "Batches", "BatchSize", "Workers", "MaxDeferred", "MiB"} {
				if !strings.Contains(err.Error(), field) {
					t.Errorf("%s: the error does not name %s: %v", what, field, err)
				}
			}
		})
	}
}

// A limit on address space is looked at, too: without that, the Go runtime ends
// the process.
func TestKernelAddressSpaceLimit(t *testing.T) {
	if os.Getenv(helperEnv) != "" {
		openWithinLimit(t)
		return
	}
	ns := labtest.New(t)
	startChild(t, ns, "limited").end()
}

// openWithinLimit is the process with the limit.
func openWithinLimit(t *testing.T) {
	cfg := Config{Queue: fakeNumber, NetNS: childNetNS, Workers: Inline}
	const room = 1 << 30
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_AS, &old); err != nil {
		t.Fatal(err)
	}
	statm := table(os.DirFS("/"), "proc/self/statm", " ")
	pages, err := strconv.ParseUint(statm[0][0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	used := pages * uint64(os.Getpagesize())
	if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: used + room, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	small, big := cfg, cfg
	small.Batches, small.BatchSize = 4, 64
	big.Batches, big.BatchSize = 64, 1024
	if q, err := Open(big); q != nil || err == nil || !strings.Contains(err.Error(), "RLIMIT_AS") {
		t.Errorf("more than the limit: %v", err)
	}
	q, err := Open(small)
	if err != nil {
		t.Fatal(err)
	}
	q.Close()
}

// Files of the kernel say what memory there is.
func TestMemoryLimit(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	machine := file("MemTotal:        1000 kB\nMemFree:         10 kB\n")
	for what, x := range map[string]struct {
		files fstest.MapFS
		want  uint64
		by    string
	}{
		"nothing is known":  {fstest.MapFS{}, math.MaxUint64, ""},
		"only the machine":  {fstest.MapFS{"proc/meminfo": machine}, 1000 << 10, "the machine has"},
		"a group, no limit": {fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("max\n")}, 1000 << 10, "the machine has"},
		"the group above has one": {fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n"), "sys/fs/cgroup/a/memory.max": file("5000\n")}, 5000, "the control group allows"},
		"a container": {fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("0::/../x\n"), "sys/fs/cgroup/memory.max": file("7000\n")}, 7000, "the control group allows"},
		"version 1": {fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("3:cpu,cpuacct:/c\n2:memory:/m\n"),
			"sys/fs/cgroup/memory/m/memory.limit_in_bytes": file("6000\n"), "sys/fs/cgroup/memory/c/memory.limit_in_bytes": file("1\n")}, 6000, "the control group allows"},
		"the machine has less": {fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("9223372036854771712\n")}, 1000 << 10, "the machine has"},
	} {
		if got := memoryLimit(x.files); got.bytes != x.want || got.by != x.by {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

// What Open asks for is no more than it says, for Configs that fit a small
// machine, defaults among them.
func TestDemand(t *testing.T) {
	const small = 256 << 20
	for what, cfg := range map[string]Config{
		"the zero value, of 8 CPUs": {Workers: 8}, "inline": {Workers: Inline}, "time-outs": {Workers: 8, HandlerTimeout: 1},
	} {
		cfg, err := cfg.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		if err := cfg.fits(limit{small, "it has"}, limit{4 << 30, "it has"}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		d := cfg.demand()
		if err := cfg.fits(limit{d.memory, ""}, limit{d.address, ""}); err != nil {
			t.Errorf("%s: just enough: %v", what, err)
		}
		if err := cfg.fits(limit{d.memory - 1, ""}, limit{d.address, ""}); err == nil {
			t.Errorf("%s: too little memory is enough", what)
		}
		if err := cfg.fits(limit{d.memory, ""}, limit{d.address - 1, ""}); err == nil {
			t.Errorf("%s: too little address space is enough", what)
		}
		f := newFake(t)
		q := f.open(cfg)
		slots, batches := uint64(0), q.loops[0].batches
		for _, b := range batches {
			slots += uint64(b.Slots())
			first, second := b.Slot(0), b.Slot(b.Slots()-1)
			if cap(first) > slotStride || cap(second) > slotStride {
				t.Errorf("%s: a slot of %d bytes", what, cap(first))
			}
		}
		if d.address < uint64(cfg.Queues)*slots*uint64(cap(batches[0].Slot(0))) {
			t.Errorf("%s: %d slots take more than %d bytes", what, slots, d.address)
		}
		q.Close()
	}
}
