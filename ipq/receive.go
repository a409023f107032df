package ipq

import (
	"context"
	"errors"
	"os"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/goipq/goipq/internal/machine"
	"github.com/goipq/goipq/internal/race"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// A loop serves one queue: it is the only reader of its socket. It runs within
// one call of the socket's RawConn.Read, whose callback, step, returns false to
// park in the runtime's poller.
type loop struct {
	e       *engine
	sock    *socket
	ring    *ring.Ring
	batches []*batch     // by ring.Batch.Index
	pin     *machine.Pin // nil: the loop runs on any thread

	to   dispatcher
	free *batch // to receive into; nil: all are with the dispatcher, or in the ring

	// spare is the batch for packets that no handler is called for, and unhandled
	// the writer of their verdicts. Inline they are the watchdog's.
	spare     *batch
	unhandled *writer
	again     *ring.Gather // of verdicts in place of refused ones

	runs      runs
	deferrals *deferrals
	writers   []*writer           // all that write for the loop, but for those of deferrals
	denied    map[uint32]struct{} // nlmsg_seq of what the kernel refused for want of the capability

	inherited bool // Inherit's work is done, or begun
	stopping  atomic.Bool
	failure   atomic.Pointer[error] // the first fatal one
	abandoned atomic.Bool           // see abandon
	results   chan<- error

	// The labels of the loop's goroutine, and of workers that serve it, in profiles.
	labels, workerLabels context.Context

	sizes batchSizes
	count *counters   // the loop's own
	sets  []*counters // all that is counted for the queue
}

// A dispatcher is where received batches go: to the handler, or to the pool.
type dispatcher interface {
	// dispatch has the n messages of b decided, now or later. It reports whether
	// the loop may receive into b again; if not, b comes back through the ring.
	dispatch(b *batch, n int) (again bool)
	// resume goes on where a handler ended the loop's goroutine.
	resume()
	// await returns when everything that was dispatched is decided and written. It
	// reports whether a handler is running all the same.
	await() (stuck bool)
	// decided waits until nothing that was dispatched is undecided. It is called
	// when the watchdog has all of it decided soon.
	decided()
	// overtakes reports whether p, decided now, overtakes others of its flow.
	overtakes(p *Packet) bool
	// watch is called by the watchdog, now and then, to decide what waits for
	// handlers that do not return.
	watch(now time.Duration)
	// callers returns all that call handlers.
	callers() []*caller
	// overrun returns how many handlers are running whose packets the watchdog
	// has decided.
	overrun() int
}

func newLoop(e *engine, sock *socket, r *ring.Ring, p *machine.Pin) *loop {
	l := &loop{e: e, sock: sock, ring: r, pin: p}
	l.count = l.newCounters()
	for _, rb := range r.Batches() {
		l.batches = append(l.batches, newBatch(rb, sock))
	}
	l.spare = l.batches[r.TryGet().Index()]
	l.unhandled = l.newWriter(e.cfg.BatchSize, l.count)
	l.again = ring.NewGather(1, 1)
	if sock.Adopted() {
		l.runs.share()
	}
	l.deferrals = newDeferrals(e, sock, &l.runs, l.newCounters(), l.fail)
	return l
}

// newCounters returns counters whose counts are the queue's.
func (l *loop) newCounters() *counters {
	c := new(counters)
	l.sets = append(l.sets, c)
	return c
}

// newWriter returns a writer that the loop answers for.
func (l *loop) newWriter(slots int, count *counters) *writer {
	w := newWriter(l.sock, &l.e.cfg, &l.runs, slots, count)
	if l.e.cfg.Histograms {
		w.watch = new(stopwatch)
	}
	l.writers = append(l.writers, w)
	return w
}

// main serves the queue and sends the result, also when a handler ends the
// goroutine with runtime.Goexit: another then takes over.
func (l *loop) main() {
	pprof.SetGoroutineLabels(l.labels)
	returned := false
	defer func() {
		if !returned {
			go l.main()
		}
	}()
	l.serve()
	returned = true
}

// serve receives until it is stopped or fails, then decides what is left and
// unbinds the queue.
func (l *loop) serve() {
	if l.pin != nil {
		unlock, err := l.pin.Lock()
		if err != nil {
			l.fail(l.sock.fail("pin", err))
		} else {
			defer unlock()
		}
	}
	if l.to.resume(); l.abandoned.Load() {
		return
	}
	if l.e.inherits && !l.inherited {
		l.inherited = true
		l.inherit()
	}
	if err := l.sock.Raw().Read(l.step); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		l.fail(l.sock.fail("receive", err))
	}
	if l.drain(l.receive); l.abandoned.Load() {
		return
	}
	l.end(l.to.await())
}

// step receives and dispatches until the socket is empty; then it returns
// false, to be called again when there is more. It returns true when the loop
// has been stopped.
func (l *loop) step(fd uintptr) (done bool) {
	woke := l.pin.Wakes()
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
		if l.e.cfg.BusyPoll > 0 && l.spin(int(fd)) || l.pin.Yields(woke) && l.look(int(fd)) {
			continue
		}
		l.count.inc(countParks)
		return false
	}
	return true
}

// spin looks for packets until there are some, the loop is stopped, or BusyPoll
// is over; only then it returns false.
func (l *loop) spin(fd int) (found bool) {
	for end := monotonic() + l.e.cfg.BusyPoll; monotonic() < end; {
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

// What receive found in the socket.
type received int

const (
	empty  received = iota // nothing
	some                   // all that there was
	more                   // a full batch: there may be more
	broken                 // an error that the loop does not survive
)

// receive reads one batch and dispatches it. It does not wait for packets, but
// for a free batch.
func (l *loop) receive(fd int) received {
	if l.free == nil {
		if l.free = l.get(); l.free == nil {
			return l.receiveUnhandled(fd)
		}
	}
	b := l.free
	n, errno := l.sock.recv(b.Batch, fd)
	if errno != 0 {
		return l.recvError(errno)
	}
	l.sizes.add(n)
	l.stamp(b)
	if !l.to.dispatch(b, n) {
		l.free = nil
	}
	if l.abandoned.Load() {
		return broken
	}
	if n < b.Slots() {
		return some
	}
	return more
}

// stamp notes when b was received, if that is measured.
func (l *loop) stamp(b *batch) {
	if l.e.cfg.Histograms {
		b.received = monotonic()
	}
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
		l.count.inc(countUndecodable)
		if !p.msg.HasID() {
			return nil
		}
	default:
		if p.Truncated() {
			l.count.inc(countTruncated)
		}
	}
	return p
}

// get takes a batch from the ring. If all are in flight it waits for one, or
// returns nil when they are not to be waited for.
func (l *loop) get() *batch {
	rb := l.ring.TryGet()
	if rb == nil {
		if l.e.cfg.Overload != Wait {
			return nil
		}
		l.count.inc(countWaits)
		var err error
		if rb, err = l.ring.Get(l.e.patient); err != nil {
			return nil // the time to drain is over
		}
	}
	return l.batches[rb.Index()]
}

// release gives a batch back to the ring.
func (l *loop) release(b *batch) {
	b.poison()
	l.ring.Put(b.Batch)
}

// A batch is a ring.Batch with the packets decoded from it.
type batch struct {
	*ring.Batch
	packets  []Packet      // packets[i] is message i, if that is a packet
	received time.Duration // when it was, if that is measured

	shares  []share      // with a pool: what the packets are split into
	pending atomic.Int32 // shares that keep the batch
}

func newBatch(rb *ring.Batch, sock *socket) *batch {
	b := &batch{Batch: rb, packets: make([]Packet, rb.Slots())}
	for i := range b.packets {
		b.packets[i] = Packet{sock: sock, batch: rb, place: uint16(i)}
	}
	return b
}

// kind is what a message turned out to be.
type kind int

const (
	isPacket kind = iota
	isBroken      // a packet that cannot be decoded; its id may be known
	isOther
)

// decode decodes message i into packets[i].
func (b *batch) decode(i int) (*Packet, kind) {
	p := &b.packets[i]
	p.slot, p.size, p.broken, p.deferred = b.Slot(i), len(b.Msg(i)), false, false
	p.hasFlow, p.hasHash = false, false
	p.edit.clear()
	switch err := p.msg.Decode(b.Msg(i)); err {
	case nil:
		return p, isPacket
	case zerocopy.ErrType:
		return p, isOther
	}
	p.broken = true
	return p, isBroken
}

// recycle ends the life of the packets. The batch can be received into again.
func (b *batch) recycle() {
	b.poison()
	b.Recycle()
}

// poison ends the life of the batch's packets, under -race: whoever kept one is reported
// by the race detector, and finds it empty.
func (b *batch) poison() {
	if race.Enabled {
		for i := range b.Len() {
			p := &b.packets[i]
			*p = Packet{sock: p.sock, batch: p.batch, place: p.place}
		}
	}
}
