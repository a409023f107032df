package ring

import (
	"context"
	"fmt"
	"sync"
)

// Limits that New enforces. They keep a mistake in a configuration from
// reserving an absurd amount of memory.
const (
	MaxBatches = 1 << 13
	MaxSlots   = 1 << 10 // UIO_MAXIOV, which also bounds recvmmsg's vlen
)

// Config describes a Ring. All fields but VerdictSize are required.
type Config struct {
	Batches     int // batches in all
	Slots       int // packets a batch can hold
	SlotSize    int // bytes in a slot
	RecvSize    int // bytes of a slot that Recv may fill; the rest is room for edits
	VerdictSize int // bytes of verdict buffer for each slot
}

func (c *Config) validate() error {
	switch {
	case c.Batches < 1 || c.Batches > MaxBatches:
		return fmt.Errorf("ring: %d batches: want 1 to %d", c.Batches, MaxBatches)
	case c.Slots < 1 || c.Slots > MaxSlots:
		return fmt.Errorf("ring: %d slots: want 1 to %d", c.Slots, MaxSlots)
	case c.RecvSize < 1 || c.SlotSize < c.RecvSize:
		return fmt.Errorf("ring: slot of %d bytes, %d of them to receive into: want 1 <= RecvSize <= SlotSize", c.SlotSize, c.RecvSize)
	case c.VerdictSize < 0:
		return fmt.Errorf("ring: %d bytes of verdict a slot: want 0 or more", c.VerdictSize)
	}
	return nil
}

// A Ring is a bounded set of batches. Its methods may be called from any
// goroutine.
type Ring struct {
	batches []*Batch

	mu   sync.Mutex
	free []*Batch // a stack: the warmest batch is on top

	// ready holds a token when a batch may have become free while somebody
	// waited for one.
	ready chan struct{}
}

// New allocates a Ring with everything in it.
func New(cfg Config) (*Ring, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Ring{
		batches: make([]*Batch, cfg.Batches),
		free:    make([]*Batch, cfg.Batches),
		ready:   make(chan struct{}, 1),
	}
	for i := range r.batches {
		b := newBatch(&cfg, i)
		r.batches[i] = b
		r.free[len(r.free)-1-i] = b
	}
	return r, nil
}

// Batches returns every batch, in the order of [Batch.Index], for building
// state that goes with each. They are not thereby taken out of the ring.
func (r *Ring) Batches() []*Batch { return r.batches }

// Free returns how many batches are in the ring now.
func (r *Ring) Free() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.free)
}

// TryGet returns a free batch, or nil when all are in use.
func (r *Ring) TryGet() *Batch {
	r.mu.Lock()
	n := len(r.free)
	if n == 0 {
		r.mu.Unlock()
		return nil
	}
	b := r.free[n-1]
	r.free = r.free[:n-1]
	r.mu.Unlock()

	if n > 1 {
		// ready holds one token, however many batches came back since it was
		// put there: whoever takes a batch passes it on while more are left.
		r.wake()
	}
	b.take()
	return b
}

// Get returns a free batch and waits for one when all are in use. It fails
// only when ctx ends first, with ctx's error.
func (r *Ring) Get(ctx context.Context) (*Batch, error) {
	for {
		if b := r.TryGet(); b != nil {
			return b, nil
		}
		select {
		case <-r.ready:
		case <-ctx.Done():
			return nil, fmt.Errorf("ring: wait for a free batch: %w", ctx.Err())
		}
	}
}

// Put gives a batch back. Its slots, and whatever points into them, must not
// be used any more. Putting a batch back twice, or into another ring, is a
// bug that would hand one buffer to two packets, so it panics.
func (r *Ring) Put(b *Batch) {
	if b.index >= len(r.batches) || r.batches[b.index] != b {
		panic("ring: batch put into a ring that does not own it")
	}
	b.giveBack()

	r.mu.Lock()
	r.free = append(r.free, b)
	r.mu.Unlock()
	r.wake()
}

func (r *Ring) wake() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}
