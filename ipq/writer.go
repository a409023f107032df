package ipq

import (
	"sync/atomic"
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
	runs       bool // decide runs of packets by one message; see run
	list       *ring.Gather
	count      *counters

	buf   []byte // where messages are put, of the batch being decided
	start int    // buf[start:end] is not in list yet
	end   int
	since time.Duration // when the oldest packet's handler was called

	run run
	tally
}

// A run is a series of packets with the same plain verdict that is to become
// one NFQNL_MSG_VERDICT_BATCH. That message decides every waiting packet up to
// an id, so it is right only where all earlier packets are decided before it,
// by this very writer, in this order: in Inline mode. Elsewhere runs are of one
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
	modified, invalid                              uint64
}

// newWriter returns a writer for batches of up to slots packets.
func newWriter(sock *socket, cfg *Config, count *counters) *writer {
	return &writer{
		sock:       sock,
		keep:       cfg.KeepChecksums,
		flushAfter: cfg.FlushAfter,
		runs:       cfg.Workers == Inline,
		// Each packet can have a payload, with messages before it.
		list:  ring.NewGather(2*cfg.BatchSize, cfg.BatchSize),
		count: count,
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

// add takes the verdict on p. It may write earlier ones to make room.
func (w *writer) add(p *Packet, v Verdict) error {
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

	_, marked := v.Mark()
	if marked || p.edit.any() {
		return w.addAttrs(p, v)
	}
	if w.run.n != 0 && (!w.runs || w.run.verdict != v) {
		if err := w.endRun(); err != nil {
			return err
		}
	}
	w.run.verdict, w.run.last = v, p.ID()
	w.run.n++
	return nil
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
		w.end += zerocopy.PutVerdict(w.buf[w.end:], w.sock.queue, w.run.last, w.run.verdict.kernel())
	default:
		w.end += zerocopy.PutVerdictBatch(w.buf[w.end:], w.sock.queue, w.run.last, w.run.verdict.kernel())
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
func (w *writer) addAttrs(p *Packet, v Verdict) error {
	if err := w.endRun(); err != nil {
		return err
	}
	a := p.edit.attrs
	if mark, ok := v.Mark(); ok {
		a.Has |= zerocopy.HasMark
		a.Mark = mark
	}
	var payload []byte
	if p.edit.payload != nil && v&verdictCode != Drop {
		a.Has |= zerocopy.HasPayload
		a.PayloadLen = len(p.edit.payload)
		payload = finishPayload(p.edit.payload, w.keep)
		w.modified++
	}
	if err := w.makeRoom(zerocopy.MaxVerdictLen + len(payload)); err != nil {
		return err
	}
	w.end += zerocopy.PutVerdictAttrs(w.buf[w.end:], w.sock.queue, p.ID(), v.kernel(), &a)
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
	} {
		if x.n != 0 {
			x.to.Add(x.n)
		}
	}
	*t = tally{}
}

// write sends what was gathered in one datagram.
func (w *writer) write() error {
	w.link()
	if w.list.Len() == 0 {
		return nil
	}
	err := w.sock.write(w.list, &w.count.retries)
	w.list.Reset()
	if err != nil {
		w.tally, w.run = tally{}, run{} // what was not written is not counted; the loop ends, and its queue with it
		return err
	}
	w.count.writes.Add(1)
	return nil
}
