package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/goipq/goipq/ipq"
)

// A usage is what the process holds at a time.
type usage struct {
	At          time.Duration `json:"at_ns"`           // since the load began; 0 before it
	Resident    uint64        `json:"resident_bytes"`  // memory
	Heap        uint64        `json:"live_heap_bytes"` // what is left after a garbage collection
	Goroutines  int           `json:"goroutines"`
	Descriptors int           `json:"descriptors"` // open files and sockets
}

func readUsage() (usage, error) {
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	u := usage{Heap: mem.HeapAlloc, Goroutines: runtime.NumGoroutine()}
	var err error
	if u.Resident, err = residentMemory(); err != nil {
		return u, err
	}
	u.Descriptors, err = openDescriptors()
	return u, err
}

// A soak is a long run of one mode, and what the process held meanwhile.
type soak struct {
	Mode     string        `json:"mode"`
	Duration time.Duration `json:"duration_ns"` // that it ran under load
	Before   usage         `json:"before"`      // without the queue
	Idle     usage         `json:"idle"`        // the queue is served, nothing is sent
	After    usage         `json:"after"`       // the queue is closed
	Whole    bool          `json:"whole"`       // no signal cut it short
	Buffers  uint64        `json:"buffer_bytes"`
	Samples  []usage       `json:"samples"`
	Life     life          `json:"life"`
	Problems []string      `json:"problems"` // a sentence for each thing that did not stay flat

	// What depends on the load of the moment, and so may come late.
	workers int    // that the pool starts when there is work for them all
	fresh   uint64 // bytes of buffers that packets of this size use, some of them only when many wait
}

const (
	// minSoak has samples enough for each quarter of it, and lets the Go
	// runtime's own start pass.
	minSoak = 2 * time.Second
	maxSoak = 30 * 24 * time.Hour
	// fewest is how many samples there must be: two to a quarter.
	fewest = 8
	// slotBytes is what goipq reserves for one packet: see Config.Batches.
	slotBytes = 68 << 10
)

// soakEvery is how long to wait between two samples: some 200 in all, and often
// enough that no 32-bit counter of the kernel wraps twice.
func soakEvery(d time.Duration) time.Duration {
	return min(max(d/200, 20*time.Millisecond), 10*time.Second)
}

// soak runs each mode for -soak, or as long as it can until ctx ends.
func (r *runner) soak(ctx context.Context) error {
	r.show.start(&r.report.Parameters, len(r.opts.Modes), r.report.total())
	defer r.show.end()
	for _, name := range r.opts.Modes {
		if ctx.Err() != nil {
			return nil
		}
		k, err := r.soakMode(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.report.Books.enter(r.report.title(name), &k.Life)
		k.judge()
		r.report.Soaks = append(r.report.Soaks, *k)
	}
	return nil
}

func (r *runner) soakMode(ctx context.Context, name string) (*soak, error) {
	p := r.plans[0]
	cfg := p.queueConfig(name)
	k := &soak{Mode: name, Buffers: bufferBytes(cfg), workers: max(cfg.Workers, 0), fresh: p.freshBytes(cfg), Samples: []usage{}, Problems: []string{}}
	var err error
	if k.Before, err = readUsage(); err != nil {
		return nil, err
	}
	at := r.sites[p.key(name)]
	s, err := startSession(at, cfg, p.handler, func() (l *load, err error) {
		if k.Idle, err = readUsage(); err != nil {
			return new(load), err
		}
		return p.scenario.start(at, &p.opts, p.setup.placement, p.setup.SendBuffer)
	})
	if err != nil {
		return nil, err
	}
	r.report.Setup.ReadBuffer = s.queue.Stats().ReadBuffer
	r.show.begin(1, r.report.title(name), true)
	r.show.measure(s.peek())
	began, readErr := time.Now(), error(nil)
	// A machine so busy that there are too few samples gets more time.
	more := func() bool { return time.Since(began) < r.opts.Soak || len(k.Samples) < fewest }
	for readErr == nil && more() && s.wait(ctx, soakEvery(r.opts.Soak), r.show) {
		var u usage
		u, readErr = readUsage()
		u.At = time.Since(began)
		k.Samples = append(k.Samples, u)
		s.tally() // so that no counter wraps unseen
	}
	k.Duration, k.Whole = time.Since(began), ctx.Err() == nil
	k.Life, err = s.end()
	if err := errors.Join(readErr, err); err != nil {
		return nil, err
	}
	k.After, err = settledUsage(k.Before)
	return k, err
}

// settledUsage reads the usage until it is down to what it was, or ten seconds
// have passed: goroutines need a moment to end after what they have said last.
func settledUsage(before usage) (usage, error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		u, err := readUsage()
		if err != nil || u.Goroutines <= before.Goroutines && u.Descriptors <= before.Descriptors || time.Now().After(end) {
			return u, err
		}
	}
}

// bufferBytes is what the queue's packet buffers may come to, by the defaults
// of Config.
func bufferBytes(cfg ipq.Config) uint64 {
	batch, batches := ipq.DefaultPoolBatch, max(8, 2*cfg.Workers)
	if cfg.Workers == ipq.Inline {
		batch, batches = ipq.DefaultInlineBatch, 1
	}
	if cfg.BatchSize > 0 {
		batch = cfg.BatchSize
	}
	return uint64(max(cfg.Queues, 1)) * uint64(batch) * uint64(batches) * slotBytes
}

// freshBytes is what packets of the plan's size use of the buffers, in whole
// pages.
func (p *plan) freshBytes(cfg ipq.Config) uint64 {
	const page, attributes = 4 << 10, 512 // beside the packet
	each := slotBytes
	if !p.opts.tcp() {
		pages := (slices.Max(p.opts.sizes())+attributes)/page + 2 // which a slot need not begin with
		each = min(each, pages*page)
	}
	return bufferBytes(cfg) / slotBytes * uint64(each)
}

// peak is the most resident memory of all samples.
func (k *soak) peak() uint64 {
	var most uint64
	for _, u := range k.Samples {
		most = max(most, u.Resident)
	}
	return most
}

// quarter returns the samples of the quarter n of four.
func (k *soak) quarter(n int) []usage {
	return k.Samples[len(k.Samples)*n/4 : len(k.Samples)*(n+1)/4]
}

// judge writes down what did not stay flat. The first quarter is warm-up; the
// medians of the second and the last are compared.
func (k *soak) judge() {
	problem := func(format string, args ...any) { k.Problems = append(k.Problems, fmt.Sprintf(format, args...)) }
	if len(k.Samples) < fewest {
		if k.Whole {
			problem("only %s could be taken, too few to judge by", plural(len(k.Samples), "sample"))
		}
		return
	}
	for _, c := range usageColumns {
		a, b := middle(k.quarter(1), c.of), middle(k.quarter(3), c.of)
		if allowed := a + a/100*c.percent + c.slack + c.late(k); b > allowed {
			problem("%s grew from %s to %s", c.name, c.show(a), c.show(b))
		}
	}
	if most := (k.Idle.Resident + k.Buffers) / 10 * 11; k.peak() > most {
		problem("resident memory under load came to %s, more than a tenth above the %s when idle plus %s of buffers",
			mebibytes(k.peak()), mebibytes(k.Idle.Resident), mebibytes(k.Buffers))
	}
	if k.After.Goroutines > k.Before.Goroutines {
		problem("%d goroutines outlived the queue", k.After.Goroutines-k.Before.Goroutines)
	}
	if k.After.Descriptors > k.Before.Descriptors {
		problem("%d descriptors outlived the queue", k.After.Descriptors-k.Before.Descriptors)
	}
}

// usageColumns are the parts of a usage, with how much each may grow and still
// be flat: in percent, for what the allocator rounds, beyond that, for what the
// Go runtime itself takes now and then, and for what is first used when the load
// happens to be highest.
var usageColumns = []struct {
	name           string
	of             func(*usage) uint64
	show           func(uint64) string
	percent, slack uint64
	late           func(*soak) uint64
}{
	{"resident memory", func(u *usage) uint64 { return u.Resident }, mebibytes, 5, 1 << 20, func(k *soak) uint64 { return k.fresh }},
	{"the live heap", func(u *usage) uint64 { return u.Heap }, mebibytes, 5, 128 << 10, none},
	{"goroutines", func(u *usage) uint64 { return uint64(u.Goroutines) }, commas, 0, 0, func(k *soak) uint64 { return uint64(k.workers) }},
	{"descriptors", func(u *usage) uint64 { return uint64(u.Descriptors) }, commas, 0, 0, none},
}

func none(*soak) uint64 { return 0 }

// middle is the median of a part of some usages.
func middle(all []usage, of func(*usage) uint64) uint64 {
	values := make([]uint64, len(all))
	for i := range all {
		values[i] = of(&all[i])
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func mebibytes(n uint64) string { return fixed(float64(n)/(1<<20), 1) + " MiB" }
