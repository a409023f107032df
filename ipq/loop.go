package ipq

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"github.com/goipq/goipq/ring"
)

// A loop serves one queue: the only reader of its socket. It runs within one
// call of the socket's RawConn.Read, whose callback, step, returns false to
// park in the runtime's poller.
type loop struct {
	q       *Queue
	sock    *socket
	ring    *ring.Ring
	batches []*batch // by ring.Batch.Index
	pin     *pin     // nil: the loop runs on any thread

	sink sink
	free *batch // to receive into; nil: all are with the sink, or in the ring

	// reserve is the batch for packets that no handler is called for, and aside
	// the writer. Inline they are the watchdog's.
	reserve *batch
	aside   *writer
	again   *ring.Gather // of verdicts in place of refused ones

	deferrals *deferrals
	writers   []*writer           // all that write for the loop, but for single deferred packets
	denied    map[uint32]struct{} // nlmsg_seq of what the kernel refused for want of the capability

	heir      bool // Inherit's work is done, or begun
	stopping  atomic.Bool
	failure   atomic.Pointer[error] // the first fatal one
	abandoned bool                  // the watchdog has ended the run in the loop's place; under lane.mu
	results   chan<- error

	sizes batchSizes
	count counters
}

// A sink is where received batches go: to the handler, or to the pool.
type sink interface {
	// take decides the n messages of b, now or later. It reports whether the
	// loop may receive into b again; if not, b comes back through the ring.
	take(b *batch, n int) (again bool)
	// resume goes on where a handler ended the loop's goroutine.
	resume()
	// finish returns when everything that was taken is decided and written. It
	// reports whether a handler is running all the same.
	finish() (stuck bool)
	// watch is called by the watchdog, now and then, to decide what waits for
	// handlers that do not return.
	watch(now time.Duration)
}

func newLoop(q *Queue, c *Conn, p *pin) *loop {
	l := &loop{q: q, sock: c.sock, ring: c.ring, pin: p}
	for _, rb := range l.ring.Batches() {
		l.batches = append(l.batches, newBatch(rb, l.sock))
	}
	l.reserve = l.batches[l.ring.TryGet().Index()]
	l.aside = l.newWriter(q.cfg.BatchSize, &l.count)
	l.again = ring.NewGather(1, 1)
	l.deferrals = newDeferrals(l)
	return l
}

// newWriter returns a writer that the loop answers for.
func (l *loop) newWriter(slots int, count *counters) *writer {
	w := newWriter(l.sock, &l.q.cfg, slots, count)
	l.writers = append(l.writers, w)
	return w
}

// stop makes run end, from any goroutine.
func (l *loop) stop() {
	l.stopping.Store(true)
	_ = l.sock.Wake() // fails only on a closed socket, which wakes as well
}

// fail records a fatal error and ends the whole run.
func (l *loop) fail(err error) {
	l.failure.CompareAndSwap(nil, &err)
	l.q.stop()
}

// main runs the loop and sends its result, also when a handler ends the
// goroutine with runtime.Goexit: another then takes over.
func (l *loop) main() {
	returned := false
	defer func() {
		if !returned {
			go l.main()
		}
	}()
	l.run()
	returned = true
}

// run receives until it is stopped or fails, then decides what is left and
// unbinds the queue.
func (l *loop) run() {
	if l.pin != nil {
		unlock, err := l.pin.lock()
		if err != nil {
			l.fail(l.sock.fail("pin", err))
		} else {
			defer unlock()
		}
	}
	if l.sink.resume(); l.abandoned {
		return
	}
	if l.q.inherits && !l.heir {
		l.heir = true
		l.inherit()
	}
	if err := l.sock.Raw().Read(l.step); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		l.fail(l.sock.fail("receive", err))
	}
	if l.drain(l.receive); l.abandoned {
		return
	}
	l.end(l.sink.finish())
}

// abandon ends the run in place of the loop, whose handler does not return.
func (l *loop) abandon() {
	l.drain(l.receiveAside)
	l.abandoned = true
	l.sock.Hold() // the handler is running within RawConn.Read
	l.end(true)
}

// end gives the queue up and sends the result of the run.
func (l *loop) end(stuck bool) {
	if l.deferrals.end() || stuck {
		l.fail(l.sock.fail("end", ErrStuck))
	}
	if l.denied != nil {
		l.uncountDenied()
	}
	if !l.q.detached.Load() {
		if err := l.sock.Unbind(); err != nil {
			l.fail(l.sock.fail("unbind", err))
		}
	}
	var err error
	if failure := l.failure.Load(); failure != nil {
		err = *failure
	}
	l.results <- err
}

// step receives and hands over until the socket is empty; then it returns
// false, to be called again when there is more. It returns true when the loop
// has been stopped.
func (l *loop) step(fd uintptr) (done bool) {
	woke := l.pin.wakes()
	for !l.stopping.Load() {
		switch l.receive(int(fd)) {
		case more:
			continue
		case broken:
			return true
		}
		// The socket was empty a moment ago. The poller is edge-triggered and
		// remembers whatever has come since then: no need for another look
		// before parking.
		if l.q.cfg.BusyPoll > 0 && l.spin(int(fd)) || l.pin.yields(woke) && l.look(int(fd)) {
			continue
		}
		l.count.parks.Add(1)
		return false
	}
	return true
}

// spin looks for packets until there are some, the loop is stopped, or BusyPoll
// is over; only then it returns false.
func (l *loop) spin(fd int) (found bool) {
	for end := monotonic() + l.q.cfg.BusyPoll; monotonic() < end; {
		if l.stopping.Load() || l.look(fd) {
			return true // step comes across a stop again
		}
	}
	return false
}

// look reports whether there was something to receive.
func (l *loop) look(fd int) bool {
	switch l.receive(fd) {
	case more, some, broken: // which step comes across again
		return true
	}
	return false
}

// drain decides what was queued before the kernel was told to stop.
func (l *loop) drain(receive func(fd int) received) {
	if l.abandoned || l.failure.Load() != nil || l.q.detached.Load() {
		return // if the socket does not work, the kernel drops what it holds
	}
	if err := l.sock.SetQueueLen(0); err != nil {
		l.fail(l.sock.fail("drain", err))
		return
	}
	for rounds := 0; rounds <= l.q.cfg.MaxQueueLen; {
		if r := receive(l.sock.FD()); r == empty || r == broken {
			return
		}
		if l.q.overdue.Load() {
			rounds++ // each has a packet, of which there are no more than MaxQueueLen, or fails
		}
	}
	l.fail(l.sock.fail("drain", errEndless))
}

// errEndless ends a run that would not end: by the kernel, which is told to
// queue no more, no more comes.
var errEndless = errors.New("the socket does not run empty: another process that has it lengthens the queue, or the kernel is out of memory")

// What receive found in the socket.
type received int

const (
	empty  received = iota // nothing
	some                   // all that there was
	more                   // a full batch: there may be more
	broken                 // an error that the loop does not survive
)

// receive reads one batch and hands it to the sink. It does not wait for
// packets, but for a free batch.
func (l *loop) receive(fd int) received {
	if l.free == nil {
		if l.free = l.get(); l.free == nil {
			return l.receiveAside(fd)
		}
	}
	b := l.free
	n, errno := l.sock.recv(b.Batch, fd)
	if errno != 0 {
		return l.recvError(errno)
	}
	l.sizes.add(n)
	if !l.sink.take(b, n) {
		l.free = nil
	}
	if l.abandoned {
		return broken
	}
	if n < b.Slots() {
		return some
	}
	return more
}

// get takes a batch from the ring. If all are in flight it waits for one, or
// returns nil when they are not to be waited for.
func (l *loop) get() *batch {
	rb := l.ring.TryGet()
	if rb == nil {
		if l.q.cfg.Overload != Wait {
			return nil
		}
		l.count.waits.Add(1)
		var err error
		if rb, err = l.ring.Get(l.q.patient); err != nil {
			return nil // the time to drain is over
		}
	}
	return l.batches[rb.Index()]
}

// gather waits until all batches have come back, and so all handlers. It
// reports false when the time to drain is over before that.
func (l *loop) gather() bool {
	here := 1 // the reserve
	if l.free != nil {
		here++
	}
	for ; here < len(l.batches); here++ {
		if _, err := l.ring.Get(l.q.patient); err != nil {
			return false
		}
	}
	return true
}

// rest pauses until the kernel may have memory again, or the loop is stopped.
func (l *loop) rest() {
	timer := time.NewTimer(maxPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.q.patient.Done():
	}
}

// release gives a batch back to the ring.
func (l *loop) release(b *batch) {
	b.poison()
	l.ring.Put(b.Batch)
}

// packet decodes message i of b. It returns nil for what needs no verdict,
// having dealt with it.
func (l *loop) packet(b *batch, i int) *Packet {
	p, kind := b.decode(i)
	switch kind {
	case isOther:
		l.control(b.Msg(i))
		return nil
	case isBroken:
		l.count.undecodable.Add(1)
		if !p.msg.HasID() {
			return nil
		}
	default:
		if p.Truncated() {
			l.count.truncated.Add(1)
		}
	}
	return p
}
