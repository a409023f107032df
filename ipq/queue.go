package ipq

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/goipq/goipq/worker"
)

// A Queue receives the packets of one or more kernel queues, has a [Handler]
// decide them, and writes the verdicts back. [Open] creates it, [Queue.Run]
// serves it, [Queue.Close] ends it.
type Queue struct {
	cfg   Config
	conns []*Conn
	loops []*loop

	handler Handler
	pool    *worker.Pool[*span] // nil for Inline

	panics, bypassed, bypassFailed atomic.Uint64
	panicLog, bypassLog            limiter

	mu    sync.Mutex
	state state
	ended chan struct{} // closed when Run has returned

	closing  sync.Once
	closeErr error
}

type state int

const (
	opened state = iota
	running
	ran
	closed
)

// Open binds the queue, or queues, that cfg names and allocates all buffers.
// From then on the kernel queues packets, up to cfg.MaxLen: call
// [Queue.Run] soon.
//
// Errors are of type [*OpError]. They match [fs.ErrPermission] without
// CAP_NET_ADMIN ([CapabilityError]), [syscall.EBUSY] for a queue that another
// socket listens on ([TakenError]), and [errors.ErrUnsupported] for what this
// kernel does not have ([FeatureError]) and on systems other than Linux. What
// is wrong in cfg itself is a plain error.
//
// [fs.ErrPermission]: https://pkg.go.dev/io/fs#pkg-variables
func Open(cfg Config) (*Queue, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return openQueue(cfg, dialSocket)
}

// openQueue opens the queues of a complete cfg on sockets that dial makes.
func openQueue(cfg Config, dial dialFunc) (*Queue, error) {
	q := &Queue{cfg: cfg, ended: make(chan struct{})}
	pins, err := newPins(&q.cfg)
	if err != nil {
		return nil, err
	}
	if err := q.newPool(); err != nil {
		closePins(pins)
		return nil, err
	}
	for i := range q.cfg.Queues {
		c, err := openConn(&q.cfg, q.cfg.Queue+uint16(i), dial)
		if err != nil {
			for _, c := range q.conns {
				c.Close()
			}
			q.closePool()
			closePins(pins)
			return nil, err
		}
		q.conns = append(q.conns, c)
		l := newLoop(q, c, pins[i])
		if q.cfg.Workers == Inline {
			l.sink = newInline(l)
		} else {
			l.sink = newPooled(l, i*q.cfg.Workers, q.cfg.Workers)
		}
		q.loops = append(q.loops, l)
	}
	return q, nil
}

// newPool makes the worker pool, if there is to be one.
func (q *Queue) newPool() (err error) {
	if q.cfg.Workers == Inline {
		return nil
	}
	q.pool, err = worker.New(worker.Config[*span]{
		Workers: q.cfg.Workers,
		Strands: q.cfg.Workers * q.cfg.Queues,
		Depth:   q.cfg.Batches,
		Run:     (*span).run,
	})
	return err
}

// closePool ends the pool's goroutines. All spans have been waited for.
func (q *Queue) closePool() {
	if q.pool != nil {
		_ = q.pool.Close(context.Background()) // fails only with its context
	}
}

// Run has h decide every packet, until ctx ends or [Queue.Close] is called. It
// then makes the kernel queue no more, has the packets decided that are queued
// already, and unbinds the queue: when Run returns, no packet is waiting for a
// verdict and no handler is running.
//
// It returns nil after such an end. An error means that a socket failed; the
// packets that could not be decided were dropped by the kernel as the queue
// was unbound. A Queue runs once: a second call returns [ErrRunning] or, when
// the first has returned, [ErrClosed].
func (q *Queue) Run(ctx context.Context, h Handler) error {
	if err := q.start(h); err != nil {
		return err
	}
	defer close(q.ended)
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.state = max(q.state, ran)
	}()

	defer q.closePool()
	defer context.AfterFunc(ctx, q.stop)()

	results := make(chan error)
	for _, l := range q.loops {
		go l.main(results)
	}
	errs := make([]error, len(q.loops))
	for i := range errs {
		errs[i] = <-results
	}
	return errors.Join(errs...)
}

func (q *Queue) start(h Handler) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch q.state {
	case running:
		return q.conns[0].sock.fail("run", ErrRunning)
	case ran, closed:
		return q.conns[0].sock.fail("run", ErrClosed)
	}
	q.state, q.handler = running, h
	return nil
}

// stop makes Run end.
func (q *Queue) stop() {
	for _, l := range q.loops {
		l.stop()
	}
}

// Stats returns the counts so far. It may be called at any time, also after
// Close, and reads the kernel's tables unless Run has returned.
func (q *Queue) Stats() Stats {
	s := Stats{
		Panics: q.panics.Load(), Bypassed: q.bypassed.Load(), BypassFailed: q.bypassFailed.Load(),
		Kernel: true, ReadBuffer: q.conns[0].sock.readBuffer,
	}
	for _, l := range q.loops {
		l.count.addTo(&s)
		if p, ok := l.sink.(*pooled); ok {
			for _, st := range p.strands {
				st.count.addTo(&s)
			}
		}
		k := l.sock.kernelCounters()
		k.addTo(&s)
	}
	return s
}

// Close ends [Queue.Run], waits for it, and closes the sockets. Packets that
// the kernel still holds when Run was never called are dropped. It may be
// called many times, from any goroutine but a handler's, which would wait for
// itself: there, cancel Run's context.
func (q *Queue) Close() error {
	q.closing.Do(func() {
		q.mu.Lock()
		was := q.state
		q.state = closed
		q.mu.Unlock()
		if was == running {
			q.stop()
			<-q.ended
		}
		q.closePool()
		var errs []error
		for _, c := range q.conns {
			errs = append(errs, c.Close())
		}
		for _, l := range q.loops {
			l.pin.close()
		}
		q.closeErr = errors.Join(errs...)
	})
	return q.closeErr
}
