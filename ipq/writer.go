package ipq

import (
	"errors"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// A writer gathers verdicts and writes them, many to a sendmsg(2). It belongs
// to one goroutine at a time. The kernel re-injects the packets within that
// sendmsg, on the writer's thread, so writers of one queue work in parallel.
//
// The messages of one write stand in ascending packet id: kernels before 7.0
// (and stable series without the backport) look a packet up by walking a list
// from the oldest.
type writer struct {
	sock       *socket
	keep       bool // Config.KeepChecksums
	flushAfter time.Duration
	list       *ring.Gather
	count      *counters
	fallback   Verdict // on a packet whose verdict cannot be written

	// runs tells whether runs of packets are decided by one message, see run;
	// while others is not 0 they are not.
	runs   bool
	others *atomic.Int64

	buf   []byte // where messages are put, of the batch being decided
	start int    // buf[start:end] is not in list yet
	end   int
	since time.Duration // when the oldest packet's handler was called

	run run
	tally
	written tally // what of the tally is written

	// The last writes, for those that the kernel refuses as a whole.
	recent []wrote
	writes int // that recent has had
}

// recentWrites is how many writes are remembered: more than there usually are
// before the loop comes to the answer to the first, which stands behind what the
// socket holds, a whole queue at most.
const recentWrites = 64

// wrote is what one write was to decide.
type wrote struct {
	seq                                            uint32 // nlmsg_seq of its first message, which the answer names
	accepted, dropped, repeated, stopped, requeued uint32
}

// A run is a series of packets with the same plain verdict that is to become
// one NFQNL_MSG_VERDICT_BATCH. That message decides every waiting packet up to
// an id, so it is right only where all earlier packets are decided before it,
// by this very writer, in this order: in Inline mode, while none is deferred and
// no other process can hold any, see deferrals.others. Elsewhere runs are of one
// packet, and become an NFQNL_MSG_VERDICT.
type run struct {
	verdict Verdict
	last    uint32 // id
	n       int    // packets; 0: no run is open
}

// tally counts since the last flush, to spare the shared counters.
type tally struct {
	verdicts, messages                             uint64
	accepted, dropped, repeated, stopped, requeued uint64
	modified, invalid, timedOut, tooLarge          uint64
	excessAccepted, excessDropped                  uint64
}

// newWriter returns a writer for up to slots packets at a time, which decides
// them one by one.
func newWriter(sock *socket, cfg *Config, slots int, count *counters) *writer {
	return &writer{
		sock:       sock,
		keep:       cfg.KeepChecksums,
		flushAfter: cfg.FlushAfter,
		fallback:   cfg.onUndecodable(),
		// Each packet can have a payload, with messages before it.
		list:   ring.NewGather(2*slots, slots),
		count:  count,
		recent: make([]wrote, min(slots, recentWrites)),
	}
}

// begin sets the buffer for the verdicts to come: MaxVerdictLen bytes for each
// packet. Nothing may be waiting for a flush.
func (w *writer) begin(buf []byte) {
	w.buf, w.start, w.end = buf, 0, 0
	if w.flushAfter > 0 {
		w.since = monotonic()
	}
}

// add takes the verdict on p, with what was edited of it. It may write earlier
// ones to make room.
func (w *writer) add(p *Packet, v Verdict) error {
	if !p.edit.any() {
		return w.addID(p.ID(), v)
	}
	if p.misedited() && v&verdictCode != Drop {
		w.invalid++
		v = Drop
	}
	return w.addAttrs(p.ID(), w.tallied(v), &p.edit)
}

// addID takes a verdict on the packet with that id.
func (w *writer) addID(id uint32, v Verdict) error {
	v = w.tallied(v)
	if v&verdictMark != 0 {
		return w.addAttrs(id, v, &edits{})
	}
	runs := w.runs && w.others.Load() == 0
	if w.run.n != 0 && (!runs || w.run.verdict != v) {
		if err := w.endRun(); err != nil {
			return err
		}
	}
	w.run.verdict, w.run.last = v, id
	w.run.n++
	return nil
}

// timeOut takes the verdict on a packet that waits, or waits behind one, for a
// handler that does not return.
func (w *writer) timeOut(id uint32, v Verdict) error {
	w.timedOut++
	return w.addID(id, v)
}

// withoutHandler takes what p gets when the handler is not to be called, because
// one does not return.
func (w *writer) withoutHandler(p *Packet, cfg *Config) error {
	if p.broken {
		return w.addID(p.ID(), cfg.onUndecodable())
	}
	return w.timeOut(p.ID(), cfg.OnTimeout)
}

// tallied counts v, and returns it without what the kernel would not take.
func (w *writer) tallied(v Verdict) Verdict {
	v &^= verdictBypass
	if !v.valid() {
		w.invalid++
		v = Drop
	}
	w.verdicts++
	switch v & verdictCode {
	case Accept:
		w.accepted++
	case Repeat:
		w.repeated++
	case Stop:
		w.stopped++
	case verdictQueue:
		w.requeued++
	default:
		w.dropped++
	}
	return v
}

// endRun puts the message for the open run, if there is one.
func (w *writer) endRun() error {
	if w.run.n == 0 {
		return nil
	}
	if err := w.makeRoom(zerocopy.VerdictLen); err != nil {
		return err
	}
	switch w.run.n {
	case 1:
		w.end += zerocopy.PutVerdict(w.buf[w.end:], w.sock.Queue(), w.run.last, w.run.verdict.kernel())
	default:
		w.end += zerocopy.PutVerdictBatch(w.buf[w.end:], w.sock.Queue(), w.run.last, w.run.verdict.kernel())
	}
	w.run.n = 0
	w.messages++
	return nil
}

// makeRoom writes what has been gathered if n more bytes would be too many for
// one write.
func (w *writer) makeRoom(n int) error {
	if w.list.Size()+w.end-w.start+n <= w.sock.sendLimit {
		return nil
	}
	return w.write()
}

// addAttrs takes a verdict that needs more than its header.
func (w *writer) addAttrs(id uint32, v Verdict, e *edits) error {
	if err := w.endRun(); err != nil {
		return err
	}
	a := e.attrs
	if mark, ok := v.Mark(); ok {
		a.Has |= zerocopy.HasMark
		a.Mark = mark
	}
	var payload []byte
	if e.payload != nil && v&verdictCode != Drop {
		a.Has |= zerocopy.HasPayload
		a.PayloadLen = len(e.payload)
		payload = e.finish(w.keep)
		w.modified++
	}
	if err := w.makeRoom(zerocopy.MaxVerdictLen + len(payload)); err != nil {
		return err
	}
	w.end += zerocopy.PutVerdictAttrs(w.buf[w.end:], w.sock.Queue(), id, v.kernel(), &a)
	w.messages++
	if payload != nil {
		w.link()
		w.list.Add(payload)
	}
	return nil
}

// link moves what was put into buf since the last time to the gather list,
// which has room: two slices for each packet.
func (w *writer) link() {
	if w.end > w.start {
		w.list.Add(w.buf[w.start:w.end])
		w.start = w.end
	}
}

// flush writes all verdicts taken since the last flush and counts them.
func (w *writer) flush() error {
	if w.verdicts == 0 {
		return nil
	}
	err := w.endRun()
	if err == nil {
		err = w.write()
	}
	if err != nil {
		return err
	}
	w.settle()
	return nil
}

// settle moves the tally to the shared counters.
func (w *writer) settle() {
	c, t := w.count, &w.tally
	c.verdicts.Add(t.verdicts)
	c.messages.Add(t.messages)
	for _, x := range [...]struct {
		n  uint64
		to *atomic.Uint64
	}{
		{t.accepted, &c.accepted}, {t.dropped, &c.dropped}, {t.repeated, &c.repeated},
		{t.stopped, &c.stopped}, {t.requeued, &c.requeued}, {t.modified, &c.modified}, {t.invalid, &c.invalid},
		{t.timedOut, &c.timedOut}, {t.tooLarge, &c.tooLarge},
		{t.excessAccepted, &c.excessAccepted}, {t.excessDropped, &c.excessDropped},
	} {
		if x.n != 0 {
			x.to.Add(x.n)
		}
	}
	*t, w.written = tally{}, tally{}
}

// note remembers the write of what list holds.
func (w *writer) note() {
	h, _ := zerocopy.ParseHeader(w.list.Piece(0))
	t, u := &w.tally, &w.written
	w.recent[w.writes%len(w.recent)] = wrote{
		h.Seq, uint32(t.accepted - u.accepted), uint32(t.dropped - u.dropped),
		uint32(t.repeated - u.repeated), uint32(t.stopped - u.stopped), uint32(t.requeued - u.requeued),
	}
	w.writes++
	*u = *t
}

// refuse takes writes out of the counts that the kernel has refused as a whole: to
// each it answers once, to its first message.
func (w *writer) refuse(answered map[uint32]struct{}) {
	c := w.count
	for i := range min(w.writes, len(w.recent)) {
		x := &w.recent[i]
		if _, ok := answered[x.seq]; !ok {
			continue
		}
		for _, y := range [...]struct {
			n    uint32
			from *atomic.Uint64
		}{
			{x.accepted, &c.accepted}, {x.dropped, &c.dropped}, {x.repeated, &c.repeated},
			{x.stopped, &c.stopped}, {x.requeued, &c.requeued},
		} {
			y.from.Add(-uint64(y.n))
			c.refused.Add(uint64(y.n))
		}
		c.refused.Add(^uint64(0)) // the answer was counted as it came
	}
}

// write sends what was gathered in one datagram.
func (w *writer) write() error {
	w.link()
	if w.list.Len() == 0 {
		return nil
	}
	w.note()
	err := w.sock.write(w.list, &w.count.retries)
	if errors.Is(err, syscall.EMSGSIZE) {
		err = w.writeSingly()
	}
	w.list.Reset()
	if err != nil {
		w.tally, w.written, w.run = tally{}, tally{}, run{} // what was not written is not counted; the loop ends, and its queue with it
		return err
	}
	w.count.writes.Add(1)
	return nil
}
