package ipq

import (
	"errors"
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
	sock  *socket
	cfg   *Config
	runs  *runs
	list  *ring.Gather
	count *counters
	watch *stopwatch // nil: nothing is measured

	buf   []byte // where messages are put, of the batch being decided
	start int    // buf[start:end] is not in list yet
	end   int
	since time.Duration // when the oldest packet's handler was called

	series series
	tally  tally
	sent   [fates]uint64 // what of the kinds and causes in tally is written

	// The last writes, for those that the kernel refuses as a whole.
	recent []wrote
	writes int // that recent has had
}

// tally counts since the last flush, to spare the shared counters.
type tally [ofVerdicts]uint64

// newWriter returns a writer for up to slots packets at a time.
func newWriter(sock *socket, cfg *Config, r *runs, slots int, count *counters) *writer {
	return &writer{
		sock: sock,
		cfg:  cfg,
		runs: r,
		// Each packet can have a payload, with messages before it.
		list:   ring.NewGather(2*slots, slots),
		count:  count,
		recent: make([]wrote, min(slots, recentWrites)),
	}
}

// begin sets the buffer for the verdicts to come: MaxVerdictLen bytes for each
// packet, which were received at that time. Nothing may be waiting for a flush.
func (w *writer) begin(buf []byte, received time.Duration) {
	w.buf, w.start, w.end = buf, 0, 0
	if w.watch != nil {
		w.watch.begin(received)
	}
	if w.cfg.FlushAfter > 0 {
		w.since = monotonic()
	}
}

// add takes the verdict on p, with what was edited of it. It may write earlier
// ones to make room.
func (w *writer) add(p *Packet, v Verdict, by cause) error {
	if v&verdictReject != 0 {
		v = w.tell(p, v)
	}
	if !p.edit.any() {
		return w.addID(p.ID(), v, by)
	}
	if p.misedited() && v&verdictCode != Drop {
		w.tally[countInvalid]++
		v, by = Drop, byInvalid
	}
	if p.edit.payload != nil && v.valid() && v&verdictCode != Drop {
		w.tally[countModified]++
	}
	if w.cfg.Observe {
		return w.addID(p.ID(), v, by)
	}
	return w.addAttrs(p.ID(), w.tallied(v, by), &p.edit)
}

// tell tells those whom the verdict on p is to be told, and returns the rest of it.
func (w *writer) tell(p *Packet, v Verdict) Verdict {
	w.sock.rejects.answer(p, v, w.count)
	return v &^ (verdictReject | verdictBoth)
}

// addID takes a verdict on the packet with that id.
func (w *writer) addID(id uint32, v Verdict, by cause) error {
	v = w.tallied(v, by)
	if w.cfg.Observe {
		v = Accept
	}
	if v&verdictMark != 0 {
		return w.addAttrs(id, v, &edits{})
	}
	s := &w.series
	if s.packets != 0 && (s.verdict != v || !w.runs.legal()) {
		if err := w.endSeries(); err != nil {
			return err
		}
	}
	s.verdict, s.last = v, id
	s.packets++
	return nil
}

// addUnhandled takes what a packet gets that no handler is called for: because of
// an overload, or because a handler does not return, or the run ends, or because the
// packet is this product's own.
func (w *writer) addUnhandled(p *Packet, by cause) error {
	switch {
	case p.broken:
		return w.addID(p.ID(), w.cfg.onUndecodable(), byUndecodable)
	case by == byOwn:
		return w.addID(p.ID(), Accept, byOwn)
	case by != byOverload:
		return w.addTimeout(p.ID(), by)
	case w.cfg.Overload == AcceptExcess:
		w.tally[countExcessAccepted]++
		return w.addID(p.ID(), Accept, by)
	}
	w.tally[countExcessDropped]++
	return w.addID(p.ID(), Drop, by)
}

// addTimeout takes what a packet gets when its time is over.
func (w *writer) addTimeout(id uint32, by cause) error {
	w.tally[countTimedOut]++
	return w.addID(id, w.cfg.onTimeout(), by)
}

// tallied counts v, and returns it without what the kernel would not take.
func (w *writer) tallied(v Verdict, by cause) Verdict {
	v &^= wishes
	if !v.valid() {
		w.tally[countInvalid]++
		v, by = Drop, byInvalid
	}
	w.tally[countVerdicts]++
	kind := kindOf(v)
	w.tally[kind]++
	switch {
	case kind == countDropped:
		w.tally[countDroppedBy+counter(by)]++
	case by != byHandler:
		w.tally[countPassedBy+counter(by)]++
	}
	return v
}

// kindOf returns the counter of v's kind.
func kindOf(v Verdict) counter {
	switch v & verdictCode {
	case Accept:
		return countAccepted
	case Repeat:
		return countRepeated
	case Stop:
		return countStopped
	case verdictQueue:
		return countRequeued
	}
	return countDropped
}

// endSeries puts the message for the open series, if there is one.
func (w *writer) endSeries() error {
	if w.series.packets == 0 {
		return nil
	}
	if err := w.makeRoom(zerocopy.VerdictLen); err != nil {
		return err
	}
	w.end += w.series.put(w.buf[w.end:], w.sock.Queue())
	w.tally[countMessages]++
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
	if err := w.endSeries(); err != nil {
		return err
	}
	a, payload := e.verdictAttrs(v, w.cfg.KeepChecksums)
	if err := w.makeRoom(zerocopy.MaxVerdictLen + len(payload)); err != nil {
		return err
	}
	w.end += zerocopy.PutVerdictAttrs(w.buf[w.end:], w.sock.Queue(), id, v.kernel(), &a)
	w.tally[countMessages]++
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
	if w.watch != nil {
		w.watch.flush()
	}
	if w.tally[countVerdicts] == 0 {
		return nil
	}
	err := w.endSeries()
	if err == nil {
		err = w.write()
	}
	if err != nil {
		return err
	}
	if s := w.watch; s != nil {
		s.latency.add(s.read-s.received, w.tally[countVerdicts])
	}
	for k, n := range &w.tally {
		if n != 0 {
			w.count.add(counter(k), n)
		}
	}
	w.tally, w.sent = tally{}, [fates]uint64{}
	return nil
}

// flushDue writes when the oldest verdict has waited for Config.FlushAfter,
// counted from the call of its handler: so handlers that take longer than that
// have each verdict written at once.
func (w *writer) flushDue() error {
	if w.cfg.FlushAfter <= 0 {
		return nil
	}
	if now := monotonic(); now-w.since >= w.cfg.FlushAfter {
		w.since = now
		return w.flush()
	}
	return nil
}

// write sends what was gathered in one datagram.
func (w *writer) write() error {
	w.link()
	if w.list.Len() == 0 {
		return nil
	}
	w.note()
	err := w.sock.write(w.list, w.count)
	if errors.Is(err, syscall.EMSGSIZE) {
		err = w.writeSingly()
	}
	w.list.Reset()
	if err != nil {
		// What was not written is not counted; the loop ends, and its queue with it.
		w.tally, w.sent, w.series = tally{}, [fates]uint64{}, series{}
		return err
	}
	w.count.inc(countWrites)
	if w.watch != nil {
		w.watch.read = monotonic()
	}
	return nil
}

// The pauses between attempts to write when the kernel is short of memory. A
// second in all: packets that have waited for so long are of no use to anyone.
const (
	firstPause = 10 * time.Microsecond
	maxPause   = 10 * time.Millisecond
	maxRetries = 110 // 10 that double up to maxPause, and 100 of that
)

// write sends what list holds in one datagram, and counts repeated attempts. When
// the time to drain is over there is one attempt.
func (s *socket) write(list *ring.Gather, count *counters) error {
	errno := s.send(list, s.FD())
	for n, pause := 0, firstPause; transient(errno) && n < maxRetries && !s.hasty.Load(); n++ {
		count.inc(countWriteRetries)
		time.Sleep(pause)
		pause = min(2*pause, maxPause)
		errno = s.send(list, s.FD())
	}
	if errno != 0 {
		return s.fail("verdict", errno)
	}
	return nil
}

// transient reports whether a write may succeed when it is tried again.
func transient(errno syscall.Errno) bool {
	return errno == syscall.EAGAIN || errno == syscall.ENOBUFS || errno == syscall.ENOMEM
}
