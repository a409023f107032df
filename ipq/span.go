package ipq

import "sync/atomic"

// A span is the part of a batch that one strand decides.
type span struct {
	sink    *pooled
	batch   *batch
	strand  *strand
	index   []uint16 // of the packets, ascending
	verdict []byte   // buffer for their verdicts

	next int // the packet, as an index into index, that is decided next

	// state is the number of the span's use and its strand, and whether it
	// waits to be run. Whoever moves it on from that decides it.
	state atomic.Uint64
}

const (
	spanWaits   = 1
	strandShift = 1
	strandBits  = 13 // 2*maxWorkers
	useShift    = strandShift + strandBits
)

// A job is what the pool is given: one use of a span. If it has been decided by
// the time that a worker comes to it, the span may be in another use.
type job struct {
	span  *span
	state uint64
}

// job returns the span's present use.
func (sp *span) job() job { return job{sp, sp.state.Load()} }

// use readies the span for its next use, on strand k, and returns the job.
func (sp *span) use(k int) job {
	state := (sp.state.Load()>>useShift+1)<<useShift | uint64(k)<<strandShift | spanWaits
	sp.state.Store(state)
	return job{sp, state}
}

// waits reports whether the job waited to be run, and on which strand.
func (j job) waits() (strand int, ok bool) {
	return int(j.state >> strandShift & (1<<strandBits - 1)), j.state&spanWaits != 0
}

// take makes the span the caller's, if the job still waits.
func (j job) take() bool { return j.span.state.CompareAndSwap(j.state, j.state&^spanWaits) }

func (sp *span) packet() *Packet { return &sp.batch.packets[sp.index[sp.next]] }

// run decides the span, on a worker.
func (j job) run() {
	if !j.take() {
		return
	}
	sp := j.span
	sp.strand.w.begin(sp.verdict)
	sp.strand.span, sp.strand.began = sp, monotonic()
	sp.run()
}

// run decides the packets from next on and writes their verdicts.
func (sp *span) run() {
	// Deferred, because a handler may end this goroutine with runtime.Goexit.
	defer sp.end()
	st, q := sp.strand, sp.sink.l.q
	for sp.next < len(sp.index) {
		mine, err := st.decide(q, sp.packet())
		if !mine {
			return
		}
		if err != nil {
			sp.sink.l.fail(err)
		}
		sp.next++
	}
}

// end is where run leads to, whether it returned or not.
func (sp *span) end() {
	st, l := sp.strand, sp.sink.l
	if phaseOf(st.state.Load()) == inEngine {
		st.learn(monotonic()-st.began, len(sp.index))
		if err := st.w.flush(); err != nil {
			l.fail(err)
		}
		sp.decided()
		sp.leave()
		return
	}
	// The handler has not returned, or too late.
	mine, err := st.exited(l.q)
	if !mine {
		st.back()
		sp.leave()
		return
	}
	if err != nil {
		l.fail(err)
	}
	sp.next++
	sp.run()
}

// decided notes that the span's verdicts are written.
func (sp *span) decided() {
	st := sp.strand
	// From here on flows may go to other strands.
	st.packets.Add(uint32(len(sp.index)))
	st.spans.Add(1)
	sp.sink.undecided.Done()
}

// leave lets go of the batch. When the last span has, it is the receiver's,
// and the span with it.
func (sp *span) leave() {
	if b := sp.batch; b.pending.Add(-1) == 0 {
		sp.sink.l.release(b)
	}
}
