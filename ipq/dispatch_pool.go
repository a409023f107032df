package ipq

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/worker"
)

// pool is the dispatcher that splits each batch by flow into shares and hands
// each share to a strand of the worker pool.
type pool struct {
	l       *loop
	workers *worker.Pool[job]
	flows   *flowTable
	strands []*strand
	first   int // number in the worker pool of the loop's first strand

	open      []*share       // by strand: of the batch being split
	homeless  []*Packet      // in it, for which there is no strand, or no need of a handler
	undecided sync.WaitGroup // shares

	takeover takeover
}

// A strand is the engine's side of a worker strand: what the shares that run on
// it, one at a time, have in common.
type strand struct {
	caller
	number  int           // in the worker pool
	share   *share        // that runs
	started time.Duration // when it began to

	// The strand's progress, for the choice of strands: shares and packets done,
	// and the time that a packet takes its handler, in nanoseconds, as a moving
	// average.
	shares  atomic.Uint32
	packets atomic.Uint32
	cost    atomic.Int64
}

// newPool returns the dispatcher of loop number i.
func newPool(l *loop, workers *worker.Pool[job], i int) *pool {
	strands, slots := l.e.cfg.strands(), l.e.cfg.BatchSize
	d := &pool{l: l, workers: workers, flows: newFlowTable(l.e.cfg.Workers, strands), first: i * strands}
	d.open = make([]*share, strands)
	d.homeless = make([]*Packet, 0, slots)
	for k := range strands {
		st := &strand{number: d.first + k}
		st.e, st.deferrals = l.e, l.deferrals
		st.cost.Store(int64(initialCost))
		st.w = l.newWriter(slots, l.newCounters())
		d.strands = append(d.strands, st)
	}
	for _, b := range l.batches {
		// A share has a packet at least, so there are no more shares than slots.
		b.shares = make([]share, min(strands, b.Slots()))
		for i := range b.shares {
			b.shares[i].to, b.shares[i].batch = d, b
			b.shares[i].index = make([]uint16, 0, b.Slots())
		}
	}
	d.takeover.w = l.newWriter(slots, l.newCounters())
	d.takeover.seized = make([]bool, strands)
	return d
}

// dispatch implements dispatcher.
func (d *pool) dispatch(b *batch, n int) (again bool) {
	if d.flows.begin(d.strands, n, monotonic()) {
		d.beginAgain(n)
	}
	shares, packets := 0, uint64(0)
	for i := range n {
		p := d.l.packet(b, i)
		if p == nil {
			continue
		}
		packets++
		if d.l.e.own(p) {
			d.homeless = append(d.homeless, p)
			continue
		}
		hash := p.FlowHash()
		p.bucket = bucketOf(hash)
		k := d.flows.strand(hash)
		if k < 0 {
			d.homeless = append(d.homeless, p)
			continue
		}
		sh := d.open[k]
		if sh == nil {
			sh = &b.shares[shares]
			sh.strand, sh.index, sh.next = d.strands[k], sh.index[:0], 0
			d.open[k] = sh
			shares++
		}
		sh.index = append(sh.index, uint16(i))
	}
	d.l.count.add(countReceived, packets)
	verdicts := b.Verdicts()
	if len(d.homeless) > 0 {
		verdicts = d.decideHomeless(b, verdicts)
	}
	if shares == 0 {
		b.recycle()
		return true
	}

	b.pending.Store(int32(shares))
	d.undecided.Add(shares)
	for k, sh := range d.open {
		if sh == nil {
			continue
		}
		d.open[k] = nil
		need := len(sh.index) * zerocopy.MaxVerdictLen
		sh.verdicts, verdicts = verdicts[:need], verdicts[need:]
		d.flows.sent(k, len(sh.index))
		// It fails only once the worker pool is closed, which comes after await;
		// and never blocks: see Queue.newWorkers.
		_ = d.workers.Submit(d.first+k, sh.use(k))
	}
	return false
}

// beginAgain begins a batch of n packets anew, while a call overruns, after what
// waits on its strand has been decided: so the packets of the batch that are
// decided without a handler overtake none of it.
func (d *pool) beginAgain(n int) {
	d.takeover.mu.Lock()
	defer d.takeover.mu.Unlock()
	d.takeOver(d.l.e.clock())
	d.flows.begin(d.strands, n, monotonic())
}

// decideHomeless decides the packets of b that go to no strand, and returns what is left
// of the verdict buffer.
func (d *pool) decideHomeless(b *batch, verdicts []byte) []byte {
	need := len(d.homeless) * zerocopy.MaxVerdictLen
	w := d.l.unhandled
	w.begin(verdicts[:need], b.received)
	for _, p := range d.homeless {
		d.l.failed(w.addUnhandled(p, d.l.e.unhandled(p)))
	}
	d.l.failed(w.flush())
	d.homeless = d.homeless[:0]
	return verdicts[need:]
}

// resume implements dispatcher: a handler ends a worker, not the loop.
func (d *pool) resume() {}

// await implements dispatcher. When the time to drain is over, the watchdog
// decides what is not decided.
func (d *pool) await() (stuck bool) {
	if d.l.gather() {
		return false
	}
	d.undecided.Wait()
	return d.overrun() > 0
}

// decided implements dispatcher.
func (d *pool) decided() { d.undecided.Wait() }

// callers implements dispatcher.
func (d *pool) callers() (all []*caller) {
	for _, st := range d.strands {
		all = append(all, &st.caller)
	}
	return all
}

// overtakes implements dispatcher.
func (d *pool) overtakes(p *Packet) bool { return d.flows.overtakes(d.strands, p.FlowHash()) }
