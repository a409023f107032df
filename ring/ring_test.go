package ring

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func mustNew(t testing.TB, cfg Config) *Ring {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var small = Config{Batches: 3, Slots: 4, SlotSize: 256, RecvSize: 128, VerdictSize: 32}

func TestNewRejects(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no batches":         func(c *Config) { c.Batches = 0 },
		"too many batches":   func(c *Config) { c.Batches = MaxBatches + 1 },
		"no slots":           func(c *Config) { c.Slots = 0 },
		"too many slots":     func(c *Config) { c.Slots = MaxSlots + 1 },
		"nothing to receive": func(c *Config) { c.RecvSize = 0 },
		"slot too small":     func(c *Config) { c.SlotSize = c.RecvSize - 1 },
		"negative verdicts":  func(c *Config) { c.VerdictSize = -1 },
	} {
		cfg := small
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted %+v", name, cfg)
		}
	}
}

func TestBatchesAreDistinct(t *testing.T) {
	r := mustNew(t, small)
	seen := map[*byte]bool{}
	for i, b := range r.Batches() {
		if b.Index() != i || b.Slots() != small.Slots || len(b.Verdicts()) != small.Slots*small.VerdictSize {
			t.Errorf("batch %d: index %d, slots %d, %d bytes of verdicts", i, b.Index(), b.Slots(), len(b.Verdicts()))
		}
		for s := range b.Slots() {
			slot := b.Slot(s)
			if len(slot) != small.SlotSize || cap(slot) != small.SlotSize {
				t.Errorf("slot of len %d, cap %d: want %d", len(slot), cap(slot), small.SlotSize)
			}
			for i := range slot {
				if seen[&slot[i]] {
					t.Fatalf("batch %d, slot %d shares byte %d with another", b.Index(), s, i)
				}
				seen[&slot[i]] = true
			}
		}
	}
}

// The batch that was put back last is the warmest and goes out first.
func TestGetReturnsTheWarmest(t *testing.T) {
	r := mustNew(t, small)
	a, b := r.TryGet(), r.TryGet()
	r.Put(a)
	r.Put(b)
	if got := r.TryGet(); got != b {
		t.Errorf("got batch %d, want %d", got.Index(), b.Index())
	}
}

func TestTryGetIsBounded(t *testing.T) {
	r := mustNew(t, small)
	for range small.Batches {
		if r.TryGet() == nil {
			t.Fatal("fewer batches than configured")
		}
	}
	if b := r.TryGet(); b != nil || r.Free() != 0 {
		t.Errorf("one batch too many: %v, %d free", b, r.Free())
	}
}

func TestGetWaitsForPut(t *testing.T) {
	r := mustNew(t, Config{Batches: 1, Slots: 1, SlotSize: 64, RecvSize: 64})
	b := r.TryGet()
	got := make(chan *Batch)
	go func() {
		b, err := r.Get(context.Background())
		if err != nil {
			t.Error(err)
		}
		got <- b
	}()
	r.Put(b)
	if <-got != b {
		t.Error("got another batch than the one put back")
	}
}

func TestGetEndsWithContext(t *testing.T) {
	r := mustNew(t, Config{Batches: 1, Slots: 1, SlotSize: 64, RecvSize: 64})
	r.TryGet()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// Batches that came back while nobody waited leave one token behind. Whoever
// uses it passes it on, for another who may have begun to wait since.
func TestNoWakeupIsLost(t *testing.T) {
	r := mustNew(t, small)
	a, b := r.TryGet(), r.TryGet()
	r.TryGet()
	r.Put(a)
	r.Put(b)
	<-r.ready // the first of two who found the ring empty just before
	if r.TryGet() == nil {
		t.Fatal("no batch is free")
	}
	select {
	case <-r.ready: // the second
	default:
		t.Error("a batch is free, and nothing wakes who waits for it")
	}
}

// However gets and puts interleave, everybody is served.
func TestConcurrentUse(t *testing.T) {
	r := mustNew(t, small)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				b, err := r.Get(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				r.Put(b)
			}
		})
	}
	wg.Wait()
	if r.Free() != small.Batches {
		t.Errorf("%d batches free, want %d", r.Free(), small.Batches)
	}
}

func TestDoublePutPanics(t *testing.T) {
	r := mustNew(t, small)
	b := r.TryGet()
	r.Put(b)
	mustPanic(t, "second Put", func() { r.Put(b) })
	if r.Free() != small.Batches {
		t.Errorf("%d batches free, want %d", r.Free(), small.Batches)
	}
}

func TestPutIntoAnotherRingPanics(t *testing.T) {
	r, other := mustNew(t, small), mustNew(t, small)
	mustPanic(t, "Put of a foreign batch", func() { other.Put(r.TryGet()) })
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	f()
}

// Datagrams can be put into a batch as if they had been received.
func TestAppend(t *testing.T) {
	b := mustNew(t, small).TryGet()
	long := make([]byte, small.RecvSize+1)
	long[0] = 7
	for i, d := range [][]byte{{1, 2, 3}, {}, long, {4}} {
		if !b.Append(d) || b.Len() != i+1 {
			t.Fatalf("datagram %d is not added: %d", i, b.Len())
		}
		got := b.Msg(i)
		if want := d[:min(len(d), small.RecvSize)]; string(got) != string(want) || b.Truncated(i) != (len(want) < len(d)) {
			t.Errorf("datagram %d: % x, cut %v", i, got, b.Truncated(i))
		}
	}
	if b.Append([]byte{5}) {
		t.Error("more than Slots")
	}
	b.Recycle()
	if b.Len() != 0 || !b.Append([]byte{6}) || b.Truncated(0) || b.Msg(0)[0] != 6 {
		t.Errorf("after Recycle: %d, % x", b.Len(), b.Msg(0))
	}
}
