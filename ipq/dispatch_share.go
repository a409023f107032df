package ipq

import (
	"runtime/pprof"
	"sync/atomic"
)

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
