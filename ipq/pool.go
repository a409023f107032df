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

	open      []*span        // by strand: of the batch being split
	stuck     []*Packet      // in it, for which there is no strand
	undecided sync.WaitGroup // spans

	relief relief
}

// A strand is the engine's side of a worker strand: what the spans that run on
// it, one at a time, have in common.
type strand struct {
	lane
	number int           // in the pool
	span   *span         // that runs
	began  time.Duration // when it did

	// The strand's progress, for steering: spans and packets done, and the
	// time that a packet takes its handler, in nanoseconds, as a moving
	// average.
	spans   atomic.Uint32
	packets atomic.Uint32
	cost    atomic.Int64

	count counters // which also pads
}

// newPooled returns the sink of loop number i.
func newPooled(l *loop, i int) *pooled {
	strands := l.q.cfg.strands()
	first := i * strands
	s := &pooled{l: l, steer: newSteering(l.q.cfg.Workers, strands), first: first}
	s.open = make([]*span, strands)
	s.stuck = make([]*Packet, 0, l.q.cfg.BatchSize)
	for k := range strands {
		st := &strand{number: first + k}
		st.deferrals = l.deferrals
		st.cost.Store(int64(initialCost))
		st.w = l.newWriter(l.q.cfg.BatchSize, &st.count)
		s.strands = append(s.strands, st)
	}
	for _, b := range l.batches {
		// A span has a packet at least, so there are no more spans than slots.
		b.spans = make([]span, min(strands, b.Slots()))
		for i := range b.spans {
			b.spans[i].sink, b.spans[i].batch = s, b
			b.spans[i].index = make([]uint16, 0, b.Slots())
		}
	}
	s.relief.w = l.newWriter(l.q.cfg.BatchSize, &s.relief.count)
	s.relief.taken = make([]bool, strands)
	return s
}

// take implements sink.
func (s *pooled) take(b *batch, n int) bool {
	if s.steer.begin(s.strands, n, monotonic()) {
		s.mindStuck(n)
	}
	spans, packets := 0, uint64(0)
	for i := range n {
		p := s.l.packet(b, i)
		if p == nil {
			continue
		}
		packets++
		hash := p.FlowHash()
		p.bucket = bucketOf(hash)
		k := s.steer.strand(hash)
		if k < 0 {
			s.stuck = append(s.stuck, p)
			continue
		}
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
	verdicts := b.Verdicts()
	if len(s.stuck) > 0 {
		verdicts = s.timeOut(verdicts)
	}
	if spans == 0 {
		b.recycle()
		return true
	}

	b.pending.Store(int32(spans))
	s.undecided.Add(spans)
	for k, sp := range s.open {
		if sp == nil {
			continue
		}
		s.open[k] = nil
		need := len(sp.index) * zerocopy.MaxVerdictLen
		sp.verdict, verdicts = verdicts[:need], verdicts[need:]
		s.steer.sent(k, len(sp.index))
		// It fails only once the pool is closed, which comes after finish;
		// and never blocks: see newPool.
		_ = s.l.q.pool.Submit(s.first+k, sp.use(k))
	}
	return false
}

// mindStuck begins again, for a batch of n packets, after what waits on strands
// that are stuck has been decided: so what comes now, and is decided without a
// handler, overtakes none of it.
func (s *pooled) mindStuck(n int) {
	s.relief.mu.Lock()
	defer s.relief.mu.Unlock()
	s.relieve(s.l.q.clock())
	s.steer.begin(s.strands, n, monotonic())
}

// timeOut decides the packets for which there is no strand, and returns what is
// left of the verdict buffer.
func (s *pooled) timeOut(verdicts []byte) []byte {
	need := len(s.stuck) * zerocopy.MaxVerdictLen
	w, cfg := s.l.aside, &s.l.q.cfg
	w.begin(verdicts[:need])
	for _, p := range s.stuck {
		if err := w.withoutHandler(p, cfg); err != nil {
			s.l.fail(err)
		}
	}
	if err := w.flush(); err != nil {
		s.l.fail(err)
	}
	s.stuck = s.stuck[:0]
	return verdicts[need:]
}

// resume implements sink: a handler ends a worker, not the loop.
func (s *pooled) resume() {}

// finish implements sink. When the time to drain is over, the watchdog decides
// what is not decided.
func (s *pooled) finish() (stuck bool) {
	if s.l.gather() {
		return false
	}
	s.undecided.Wait()
	return s.running() > 0
}

// overtakes reports whether p, sent on now, overtakes others of its flow.
func (s *pooled) overtakes(p *Packet) bool { return s.steer.overtakes(s.strands, p.FlowHash()) }
