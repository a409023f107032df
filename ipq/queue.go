package ipq

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/goipq/goipq/worker"
)

// A Queue receives the packets of one or more kernel queues, has a [Handler]
// decide them, and writes the verdicts back. [Open] creates it, [Queue.Run]
// serves it, [Queue.Close] ends it.
type Queue struct {
	engine
	loops   []*loop
	workers *worker.Pool[job] // nil for Inline

	mu     sync.Mutex
	state  state
	closed bool          // Close was called
	ended  chan struct{} // closed when Run has returned

	stopping   sync.Once
	releasing  sync.Once
	releaseErr error
}

type state int

const (
	opened state = iota
	serving
	ran
)

// Open binds the queue, or queues, that cfg names and allocates all buffers.
// From then on the kernel queues packets, up to cfg.MaxQueueLen: call
// [Queue.Run] soon.
//
// What is wrong in cfg itself is an error that matches [ErrConfig]. Others are of
// type [*OpError]. They match [fs.ErrPermission] without CAP_NET_ADMIN
// ([CapabilityError]), [syscall.EBUSY] for a queue that another socket listens on
// ([TakenError]), and [errors.ErrUnsupported] for what this kernel does not have
// ([FeatureError], [ModuleError]) and on systems other than Linux. [Probe] tells
// beforehand.
//
// [fs.ErrPermission]: https://pkg.go.dev/io/fs#pkg-variables
func Open(cfg Config) (*Queue, error) {
	release, err := cfg.holdNetNS()
	if err != nil {
		return nil, err
	}
	defer release()
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	q, err := openQueue(cfg, dialSocket)
	if err != nil {
		return nil, err
	}
	q.openRejecter()
	return q, nil
}

// openRejecter makes what the queues need for Reject.
func (q *Queue) openRejecter() {
	r := q.loops[0].sock.openRejecter(&q.cfg)
	for _, l := range q.loops {
		l.sock.rejects = r
	}
}

// openQueue opens the queues of a complete cfg on sockets that dial makes.
func openQueue(cfg Config, dial dialFunc) (_ *Queue, err error) {
	if err := cfg.checkMemory(); err != nil {
		return nil, err
	}
	q := &Queue{ended: make(chan struct{})}
	q.cfg, q.stop, q.clock, q.stopped = cfg, q.end, monotonic, make(chan struct{})
	q.patient, q.impatient = context.WithCancel(context.Background())
	pins, err := newPins(&q.cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			q.release()
		}
	}()
	if err := q.newWorkers(); err != nil {
		return nil, err
	}
	for i := range q.cfg.Queues {
		sock, r, err := openSocket(&q.cfg, q.cfg.Queue+uint16(i), q.cfg.Batches+1, dial)
		if err != nil {
			return nil, err
		}
		l := newLoop(&q.engine, sock, r, pins[i])
		if q.cfg.Workers == Inline {
			l.to = newInline(l)
		} else {
			l.to = newPool(l, q.workers, i)
		}
		q.loops = append(q.loops, l)
	}
	return q, nil
}

// newWorkers makes the worker pool, if there is to be one.
func (q *Queue) newWorkers() (err error) {
	if q.cfg.Workers == Inline {
		return nil
	}
	q.workers, err = worker.New(worker.Config[job]{
		Workers: q.cfg.Workers,
		Strands: q.cfg.strands() * q.cfg.Queues,
		// A strand has a share of each batch at the most, and as many behind
		// a handler that did not return and that are decided.
		Depth: 2 * q.cfg.Batches,
		Run:   job.run,
	})
	return err
}

// Run has h decide every packet, until ctx ends or [Queue.Close] is called. A nil h
// stands for none yet: see [Queue.SetHandler]. It
// then makes the kernel queue no more, has the packets decided that are queued
// already, and unbinds the queue: when Run returns, no packet is waiting for a
// verdict and no handler is running.
//
// All that takes [Config.DrainTimeout] at the most. What is not decided by then
// is given [Config.OnTimeout], and if a handler has not returned Run gives up
// on it, with an error that matches [ErrStuck]. The goroutine and the buffer of
// such a handler, and with [Inline] a descriptor of the socket, live until it
// returns.
//
// Run returns nil after an end in order. Another error means that a socket
// failed, or that the queue was taken away ([ErrUnbound]) or the right to it
// ([CapabilityError]); the packets that could not be decided are dropped by the
// kernel as the queue is unbound. A Queue runs once: a second call returns
// [ErrRunning] or, when the first has returned, [ErrClosed]. The error matches
// [ErrConfig], and the Queue has not run, for a [WholePacketHandler] that packets are not
// whole for.
func (q *Queue) Run(ctx context.Context, h Handler) error {
	if err := q.start(h); err != nil {
		return err
	}
	defer q.finish()
	defer context.AfterFunc(ctx, q.stop)()

	results := make(chan error, len(q.loops))
	for _, l := range q.loops {
		l.results = results
		l.labels = profileLabels(ctx, "receive", l.sock.Queue())
		l.workerLabels = profileLabels(ctx, "worker", l.sock.Queue())
		go l.main()
	}
	done := make(chan struct{})
	var watchdog sync.WaitGroup
	watchdog.Go(func() { q.watchdog(done) })
	errs := make([]error, len(q.loops))
	for i := range errs {
		errs[i] = <-results
	}
	q.closeWorkers() // while the watchdog bounds its patience
	close(done)
	watchdog.Wait()
	return errors.Join(errs...)
}

func (q *Queue) start(h Handler) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.tooLate("run", opened); err != nil {
		return err
	}
	if err := q.cfg.suits(h); err != nil {
		return q.loops[0].sock.fail("run", err)
	}
	q.state = serving
	if h != nil {
		q.handler.Store(&h)
	}
	return nil
}

// tooLate returns an error if q is beyond latest, the last state in which op makes
// sense. The caller holds mu.
func (q *Queue) tooLate(op string, latest state) error {
	switch {
	case q.closed || q.state == ran:
		return q.loops[0].sock.fail(op, ErrClosed)
	case q.state > latest:
		return q.loops[0].sock.fail(op, ErrRunning)
	}
	return nil
}

// SetHandler has h decide the packets from now on, in place of the handler that Run
// was called with, or as the first one. It may be called at any time before or during
// Run, from any goroutine.
//
// When it returns nil, no call of a former handler is running, and none will begin. No
// packet is lost or decided twice: those that a former handler had were decided by
// it. What a former handler has deferred is decided as it would have been.
//
// SetHandler waits for calls that are running, except when a handler of any Queue calls
// it, which might wait for itself: then it returns nil at once, and calls of former
// handlers may go on until they return. It returns [os.ErrInvalid] for a nil h,
// [ErrConfig] for a [WholePacketHandler] that packets are not whole for, [ErrClosed]
// after Close or when Run has returned, and [ErrStuck] if Run gave up on a call that it
// waited for, each in an [*OpError].
func (q *Queue) SetHandler(h Handler) error {
	if h == nil {
		return q.loops[0].sock.fail("handler", fmt.Errorf("%w: there is no nil handler", os.ErrInvalid))
	}
	q.mu.Lock()
	err := q.tooLate("handler", serving)
	if err == nil {
		if err = q.cfg.suits(h); err != nil {
			err = q.loops[0].sock.fail("handler", err)
		} else {
			q.handler.Store(&h)
		}
	}
	q.mu.Unlock()
	if err != nil || inCall() {
		return err
	}
	// A call that has begun to run before the handler was stored may have the former
	// one; one that begins later has this one.
	for _, l := range q.loops {
		for _, c := range l.to.callers() {
			if !l.deferrals.await(c) {
				return l.sock.fail("handler", ErrStuck)
			}
		}
	}
	return nil
}

// finish is the end of Run.
func (q *Queue) finish() {
	q.mu.Lock()
	q.state = ran
	closed := q.closed
	q.mu.Unlock()
	for _, l := range q.loops {
		l.deferrals.runOver()
	}
	if closed {
		_ = q.release() // whose error is Close's
	}
	close(q.ended)
}

// end makes Run end.
func (q *Queue) end() {
	q.stopping.Do(func() { close(q.stopped) })
	for _, l := range q.loops {
		l.stop()
	}
}

// Close ends [Queue.Run] as the end of its context does, waits for it, and
// closes the sockets. Packets that the kernel still holds when Run was never
// called are dropped. It may be called many times, from any goroutine.
//
// In a handler Close does not wait, because Run waits for the handler: it
// begins the end and returns nil, and when Run returns everything is closed. A
// handler must not wait for a Close on another goroutine either.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.closed = true
	running := q.state == serving
	q.mu.Unlock()
	if running {
		q.stop()
		if inCall() {
			return nil
		}
		<-q.ended
	}
	return q.release()
}

// Detach is Close that leaves the queue, and the packets that it has not
// received, to another process that has its socket; see [Queue.File]. All that
// was received is decided when it returns, deferred packets too.
func (q *Queue) Detach() error {
	q.detached.Store(true)
	return q.Close()
}

// release frees all that Open has allocated, once.
func (q *Queue) release() error {
	q.releasing.Do(func() {
		q.impatient()
		q.closeWorkers()
		var errs []error
		for _, l := range q.loops {
			errs = append(errs, l.sock.Close(), l.sock.rejects.close())
		}
		q.releaseErr = errors.Join(errs...)
	})
	return q.releaseErr
}

// closeWorkers ends the pool's goroutines. All shares are decided; it waits for
// handlers that are running all the same until the time to drain is over.
func (q *Queue) closeWorkers() {
	if q.workers != nil {
		_ = q.workers.Close(q.patient) // fails only with its context
	}
}

// Config returns the configuration in use: that which q was opened with, and the
// defaults in the place of zeroes. NetNS is 0, because Open keeps no descriptor.
func (q *Queue) Config() Config {
	cfg := q.cfg
	cfg.NetNS = 0
	return cfg
}
