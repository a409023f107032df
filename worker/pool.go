package worker

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/panjf2000/ants/v2"
)

// DefaultDepth is the number of tasks that may wait on one strand when
// Config.Depth is 0.
const DefaultDepth = 64

// maxBytes bounds the memory that New allocates for the strands and their
// queues: beyond 1 GiB a Config is taken for a mistake.
const maxBytes = 1 << 30

// Config configures a Pool. Only Run is required.
type Config[T any] struct {
	// Workers is the number of goroutines that run tasks at the same time.
	// 0 means runtime.GOMAXPROCS(0).
	Workers int

	// Strands is the number of strands, numbered from 0. 0 means Workers.
	// There may be far more strands than workers.
	Strands int

	// Depth is the number of tasks that may wait on one strand, not counting
	// the one that runs; beyond it Submit blocks. 0 means DefaultDepth. New
	// allocates Strands × Depth tasks.
	Depth int

	// Run runs one task. Required. Workers call it concurrently, but never
	// twice at once for one strand.
	Run func(task T)

	// OnPanic is told of a task that did not return: it panicked with value,
	// or it called runtime.Goexit and value is ErrGoexit. It is called on the
	// worker, before the strand's next task, with the stack as
	// runtime/debug.Stack prints it; what it panics with is contained, too.
	// nil: such tasks are only counted.
	OnPanic func(task T, value any, stack []byte)
}

// A Pool runs tasks of type T on ordered strands. Create one with New and end
// it with Close. Its methods are safe for concurrent use.
type Pool[T any] struct {
	run     func(T)
	onPanic func(T, any, []byte)
	workers int
	strands []strand[T]

	runners *ants.PoolWithFuncGeneric[struct{}]

	panics          atomic.Uint64
	onPanicFailures atomic.Uint64

	// Lock order: strand.mu, then mu.
	mu          sync.Mutex
	first, last *strand[T]   // ready list: strands with tasks and no runner
	ready       atomic.Int64 // its length; changed under mu
	active      int          // runners, started or about to be; workers while a strand is ready, never more
	stuck       int          // runners beyond active, whose tasks are stuck
	closing     bool

	drained  chan struct{} // closed when closing, every task has run and no runner is left
	released chan struct{} // closed when the goroutines below have gone, too
}

// New starts a pool. It starts no worker before there is a task. The error
// names the field of cfg that is wrong, and its value.
func New[T any](cfg Config[T]) (*Pool[T], error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	p := &Pool[T]{
		run:      cfg.Run,
		onPanic:  cfg.OnPanic,
		workers:  cfg.Workers,
		strands:  make([]strand[T], cfg.Strands),
		drained:  make(chan struct{}),
		released: make(chan struct{}),
	}
	slab := make([]T, cfg.Strands*cfg.Depth)
	for i := range p.strands {
		s := &p.strands[i]
		s.room.L = &s.mu
		s.slots, slab = slab[:cfg.Depth:cfg.Depth], slab[cfg.Depth:]
	}
	// No capacity: active bounds the runners. At a capacity Invoke would block
	// while a runner that is done is on its way back into ants' stack, and
	// the runner that replaces one lost to Goexit would wait for itself.
	var err error
	p.runners, err = ants.NewPoolWithFuncGeneric(-1,
		func(struct{}) { p.runner() }, ants.WithDisablePurge(true))
	if err != nil {
		return nil, fmt.Errorf("worker: new pool: %w", err)
	}
	return p, nil
}

// complete validates cfg and fills in the defaults.
func (cfg *Config[T]) complete() error {
	if cfg.Run == nil {
		return errors.New("worker: Config.Run is nil: it must run a task")
	}
	for _, f := range []struct {
		name  string
		value *int
		zero  func() int
	}{
		{"Workers", &cfg.Workers, func() int { return runtime.GOMAXPROCS(0) }},
		{"Strands", &cfg.Strands, func() int { return cfg.Workers }},
		{"Depth", &cfg.Depth, func() int { return DefaultDepth }},
	} {
		if *f.value == 0 {
			*f.value = f.zero()
		}
		if *f.value < 0 || *f.value > maxBytes {
			return fmt.Errorf("worker: Config.%s is %d: it must be within 0..%d", f.name, *f.value, maxBytes)
		}
	}
	// In floating point, because the products may overflow an integer.
	task := float64(reflect.TypeFor[T]().Size())
	strand := float64(reflect.TypeFor[strand[T]]().Size()) + float64(cfg.Depth)*max(task, 1)
	if total := float64(cfg.Strands) * strand; total > maxBytes {
		return fmt.Errorf("worker: Config.Strands %d with Config.Depth %d needs %.0f bytes: more than %d",
			cfg.Strands, cfg.Depth, total, maxBytes)
	}
	return nil
}

// Close refuses further tasks, waits until every accepted task has run, and
// frees the pool's goroutines; then it returns nil. Submitters blocked on a
// full strand get ErrClosed.
//
// If ctx ends first, Close returns an error that wraps ctx.Err() and says how
// many tasks remain. They run nevertheless, and the goroutines end after the
// last one; call Close again to go on waiting. It may be called from any
// goroutine, many times.
//
// A Close called from within a task waits for that very task, hence until its
// ctx ends: give it one that does. A context that has ended already makes it
// begin the closing and return at once.
func (p *Pool[T]) Close(ctx context.Context) error {
	for i := range p.strands {
		p.strands[i].close()
	}
	p.mu.Lock()
	if !p.closing {
		p.closing = true
		p.checkDrained()
	}
	p.mu.Unlock()

	select {
	case <-p.drained:
	default:
		select {
		case <-p.drained:
		case <-ctx.Done():
			return fmt.Errorf("worker: close: %d tasks remain: %w", p.remaining(), ctx.Err())
		}
	}
	<-p.released // no task holds this up
	return nil
}

// checkDrained begins the release of the pool's goroutines if it was closed
// and nothing is left to do: a strand with tasks keeps a runner active. The
// caller holds p.mu.
func (p *Pool[T]) checkDrained() {
	if !p.closing || p.active+p.stuck > 0 {
		return
	}
	close(p.drained)
	go p.release()
}

// release ends the goroutines of ants. It has a goroutine of its own because
// the one that finds the pool drained may be one of those it waits for, and
// because nobody need be waiting in Close at the time.
func (p *Pool[T]) release() {
	defer close(p.released)
	_ = p.runners.ReleaseContext(context.Background()) // cannot end early: no deadline, called once
}

// remaining counts the tasks accepted and not yet run to their end.
func (p *Pool[T]) remaining() uint64 {
	st := p.Stats()
	return st.Submitted - st.Completed
}
