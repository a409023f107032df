package ipq

import (
	"runtime/pprof"
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

// A share is the part of a batch that goes to one strand: packets of one or more
// flows.
type share struct {
	to       *pool
	batch    *batch
	strand   *strand
	index    []uint16 // of the packets in the batch, ascending
	verdicts []byte   // buffer for them

	next int // the packet, as an index into index, that is decided next

	// state is the number of the share's use and its strand, and whether it
	// waits for a worker. Whoever moves it on from that decides the share.
	state atomic.Uint64
}

const (
	shareWaits  = 1
	strandShift = 1
	strandBits  = 13 // 2*maxWorkers
	useShift    = strandShift + strandBits
)

// A job is what the pool is given: one use of a share. If it has been decided by
// the time that a worker comes to it, the share may be in another use.
type job struct {
	share *share
	state uint64
}

// job returns the share's present use.
func (sh *share) job() job { return job{sh, sh.state.Load()} }

// use readies the share for its next use, on strand k, and returns the job.
func (sh *share) use(k int) job {
	state := (sh.state.Load()>>useShift+1)<<useShift | uint64(k)<<strandShift | shareWaits
	sh.state.Store(state)
	return job{sh, state}
}

// waits reports whether the job waited for a worker, and on which strand.
func (j job) waits() (strand int, ok bool) {
	return int(j.state >> strandShift & (1<<strandBits - 1)), j.state&shareWaits != 0
}

// claim makes the share the caller's to decide, if the job still waits.
func (j job) claim() bool { return j.share.state.CompareAndSwap(j.state, j.state&^shareWaits) }

func (sh *share) packet() *Packet { return &sh.batch.packets[sh.index[sh.next]] }

// run decides the share, on a worker.
func (j job) run() {
	if !j.claim() {
		return
	}
	sh := j.share
	st := sh.strand
	pprof.SetGoroutineLabels(sh.to.l.workerLabels)
	st.share, st.started = sh, monotonic()
	st.w.begin(sh.verdicts, sh.batch.received)
	if st.w.watch != nil {
		st.w.watch.read = st.started // it has waited until now
	}
	sh.decideRest()
}

// decideRest decides the packets from next on and writes their verdicts.
func (sh *share) decideRest() {
	// Deferred, because a handler may end this goroutine with runtime.Goexit.
	defer sh.exit()
	for sh.next < len(sh.index) {
		mine, err := sh.strand.decide(sh.packet())
		if !mine {
			return
		}
		sh.to.l.failed(err)
		sh.next++
	}
}

// exit is where decideRest leads to, whether it returned or not.
func (sh *share) exit() {
	st, l := sh.strand, sh.to.l
	if st.phase() == idle {
		st.learn(monotonic()-st.started, len(sh.index))
		l.failed(st.w.flush())
		sh.done()
		sh.leave()
		return
	}
	// The handler has not returned, or too late.
	mine, err := st.exited()
	if !mine {
		st.comeBack()
		sh.leave()
		return
	}
	l.failed(err)
	sh.next++
	sh.decideRest()
}

// done notes that the share's verdicts are written.
func (sh *share) done() {
	st := sh.strand
	// From here on flows may go to other strands.
	st.packets.Add(uint32(len(sh.index)))
	st.shares.Add(1)
	sh.to.undecided.Done()
}

// leave lets go of the batch. When the last share has, it is the receiver's,
// and the share with it.
func (sh *share) leave() {
	if b := sh.batch; b.pending.Add(-1) == 0 {
		sh.to.l.release(b)
	}
}
