package ipq

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/machine"
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
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	size, _, _ := strings.Cut(string(statm), " ")
	pages, err := strconv.ParseUint(size, 10, 64)
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
		if err := cfg.fits(machine.Limit{Bytes: small, By: "it has"}, machine.Limit{Bytes: 4 << 30, By: "it has"}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		d := cfg.demand()
		if err := cfg.fits(machine.Limit{Bytes: d.memory}, machine.Limit{Bytes: d.address}); err != nil {
			t.Errorf("%s: just enough: %v", what, err)
		}
		if err := cfg.fits(machine.Limit{Bytes: d.memory - 1}, machine.Limit{Bytes: d.address}); err == nil {
			t.Errorf("%s: too little memory is enough", what)
		}
		if err := cfg.fits(machine.Limit{Bytes: d.memory}, machine.Limit{Bytes: d.address - 1}); err == nil {
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
