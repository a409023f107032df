package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/ipq"
)

// readUsage looks at this process.
func readUsage() (report.Usage, error) {
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	u := report.Usage{Heap: mem.HeapAlloc, Goroutines: runtime.NumGoroutine()}
	var err error
	if u.Resident, err = residentMemory(); err != nil {
		return u, err
	}
	u.Descriptors, err = openDescriptors()
	return u, err
}

const (
	// minSoak is long enough for samples in each quarter, and for the Go runtime to
	// have started up.
	minSoak = 2 * time.Second
	maxSoak = 30 * 24 * time.Hour
	// slotBytes is what goipq reserves for one packet: see Config.Batches.
	slotBytes = 68 << 10
)

// soakEvery is how long to wait between two samples. There are some 200 of them, and
// none so late that a 32-bit counter of the kernel could wrap twice.
func soakEvery(d time.Duration) time.Duration {
	return min(max(d/200, 20*time.Millisecond), 10*time.Second)
}

// soak runs each mode for -soak, or as long as it can until ctx ends.
func (r *runner) soak(ctx context.Context) error {
	r.show.start(&r.report.Parameters, len(r.opts.Modes), r.report.Total())
	defer r.show.end()
	for _, name := range r.opts.Modes {
		if ctx.Err() != nil {
			return nil
		}
		k, err := r.soakMode(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.report.Books.Enter(r.report.Title(name), &k.Life)
		k.Judge()
		r.report.Soaks = append(r.report.Soaks, *k)
	}
	return nil
}

func (r *runner) soakMode(ctx context.Context, name string) (*report.Soak, error) {
	p := r.plans[0]
	cfg := p.queueConfig(name)
	k := &report.Soak{Mode: name, Buffers: bufferBytes(cfg), Workers: max(cfg.Workers, 0), Fresh: p.freshBytes(cfg), Samples: []report.Usage{}, Problems: []string{}}
	var err error
	if k.Before, err = readUsage(); err != nil {
		return nil, err
	}
	at := r.sites[p.key(name)]
	s, err := startSession(at, cfg, p.handler, func() (l *load, err error) {
		if k.Idle, err = readUsage(); err != nil {
			return new(load), err
		}
		return p.scenario.start(at, &p.opts, p.setup.Placement, p.setup.SendBuffer)
	})
	if err != nil {
		return nil, err
	}
	r.exporter.show(s.queue)
	r.report.Setup.ReadBuffer = s.queue.Stats().ReadBuffer
	r.show.begin(1, r.report.Title(name), true)
	r.show.measure(s.peek())
	began, readErr := time.Now(), error(nil)
	// A machine that is too busy to take enough samples gets more time.
	more := func() bool { return time.Since(began) < r.opts.Soak || len(k.Samples) < report.FewestSamples }
	for readErr == nil && more() && s.wait(ctx, soakEvery(r.opts.Soak), r.show) {
		var u report.Usage
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

// settledUsage reads the usage until it is down to what it was, or ten seconds have
// passed: goroutines need a moment to end.
func settledUsage(before report.Usage) (report.Usage, error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		u, err := readUsage()
		if err != nil || u.Goroutines <= before.Goroutines && u.Descriptors <= before.Descriptors || time.Now().After(end) {
			return u, err
		}
	}
}

// bufferBytes is how large the queue's packet buffers may become, by the defaults of
// Config.
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

// freshBytes is how much of the buffers packets of the plan's size use, in whole
// pages.
func (p *plan) freshBytes(cfg ipq.Config) uint64 {
	const page, attributes = 4 << 10, 512 // beside the packet
	each := slotBytes
	if !p.opts.tcp() {
		pages := (slices.Max(p.opts.sizes())+attributes)/page + 2 // a slot need not begin with a page
		each = min(each, pages*page)
	}
	return bufferBytes(cfg) / slotBytes * uint64(each)
}
