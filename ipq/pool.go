package ipq

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
)

// pooled is the sink that splits each batch by flow into spans and hands each
// span to a strand of the worker pool.
type pooled struct {
	l       *loop
	steer   *steering
	strands []*strand
	first   int // number in the pool of the loop's first strand

	open     []*span        // by strand: of the batch being split
	inflight sync.WaitGroup // batches
}

// A strand is the engine's side of a worker strand: what the spans that run on
// it, one at a time, have in common.
type strand struct {
	w     *writer
	began time.Duration // when the span that runs now did

	// The strand's progress, for steering: spans and packets done, and the
	// time that a packet takes its handler, in nanoseconds, as a moving
	// average.
	spans   atomic.Uint32
	packets atomic.Uint32
	cost    atomic.Int64

	count counters // which also pads
}

// A span is the part of a batch that one strand decides.
type span struct {
	sink    *pooled
	batch   *batch
	strand  *strand
	index   []uint16 // of the packets, ascending
	verdict []byte   // buffer for their verdicts

	next int // the packet, as an index into index, that is decided next
}

func newPooled(l *loop, first, strands int) *pooled {
	s := &pooled{l: l, steer: newSteering(strands), first: first}
	s.open = make([]*span, strands)
	for range strands {
		st := &strand{}
		st.cost.Store(int64(initialCost))
		st.w = newWriter(l.sock, &l.q.cfg, &st.count)
		s.strands = append(s.strands, st)
	}
	for _, b := range l.batches {
		// A span has a packet at least, so there are no more spans than slots.
		b.spans = make([]span, min(strands, b.Slots()))
		for i := range b.spans {
			b.spans[i] = span{sink: s, batch: b, index: make([]uint16, 0, b.Slots())}
		}
	}
	return s
}

// take implements sink.
func (s *pooled) take(b *batch, n int) bool {
	s.steer.begin(s.strands, n, monotonic())
	spans, packets := 0, uint64(0)
	for i := range n {
		p := s.l.packet(b, i)
		if p == nil {
			continue
		}
		packets++
		k := s.steer.strand(p.flowHash())
		sp := s.open[k]
		if sp == nil {
			sp = &b.spans[spans]
			sp.strand, sp.index, sp.next = s.strands[k], sp.index[:0], 0
			s.open[k] = sp
			spans++
		}
		sp.index = append(sp.index, uint16(i))
	}
	s.l.count.received.Add(packets)
	if spans == 0 {
		b.recycle()
		return true
	}

	b.pending.Store(int32(spans))
	s.inflight.Add(1)
	verdicts := b.Verdicts()
	for k, sp := range s.open {
		if sp == nil {
			continue
		}
		s.open[k] = nil
		need := len(sp.index) * zerocopy.MaxVerdictLen
		sp.verdict, verdicts = verdicts[:need], verdicts[need:]
		s.steer.sent(k, len(sp.index))
		// It fails only once the pool is closed, which comes after finish;
		// and never blocks, because a strand is as deep as there are batches.
		_ = s.l.q.pool.Submit(s.first+k, sp)
	}
	return false
}

// resume implements sink: a handler ends a worker, not the loop.
func (s *pooled) resume() {}

// finish implements sink.
func (s *pooled) finish() { s.inflight.Wait() }

// run decides the span's packets from next on and writes their verdicts, on a
// worker.
func (sp *span) run() {
	// Deferred, because a handler may end this goroutine with runtime.Goexit.
	defer sp.end()
	st, q := sp.strand, sp.sink.l.q
	if sp.next == 0 {
		st.w.begin(sp.verdict)
		st.began = monotonic()
	}
	for sp.next < len(sp.index) {
		if err := st.w.decide(q, sp.packet()); err != nil {
			sp.sink.l.fail(err)
		}
		sp.next++
	}
}

func (sp *span) packet() *Packet { return &sp.batch.packets[sp.index[sp.next]] }

// end is where run leads to, whether it returned or not.
func (sp *span) end() {
	st, l := sp.strand, sp.sink.l
	if sp.next < len(sp.index) {
		if err := st.w.exited(l.q, sp.packet()); err != nil {
			l.fail(err)
		}
		sp.next++
		sp.run()
		return
	}
	st.learn(monotonic()-st.began, len(sp.index))
	if err := st.w.flush(); err != nil {
		l.fail(err)
	}
	sp.done()
}

// done tells the loop that the span's verdicts are written.
func (sp *span) done() {
	s, b, st, n := sp.sink, sp.batch, sp.strand, uint32(len(sp.index))
	// From here on flows may go to other strands, and, when the last span of
	// the batch is done, the batch and the span in it to the receiver.
	st.packets.Add(n)
	st.spans.Add(1)
	if b.pending.Add(-1) == 0 {
		s.l.release(b)
		s.inflight.Done()
	}
}
