package ipq

// inline is the sink that runs handlers in the receive loop: run to
// completion, one batch after the other.
type inline struct {
	l *loop
	w *writer

	batch   *batch
	n       int    // messages in it
	next    int    // the message that is decided next
	packets uint64 // packets among the messages so far
}

func newInline(l *loop) *inline {
	return &inline{l: l, w: newWriter(l.sock, &l.q.cfg, &l.count)}
}

// take implements sink.
func (s *inline) take(b *batch, n int) bool {
	s.batch, s.n, s.next, s.packets = b, n, 0, 0
	s.w.begin(b.Verdicts())
	s.run()
	return true
}

func (s *inline) run() {
	l, w := s.l, s.w
	for ; s.next < s.n; s.next++ {
		p := l.packet(s.batch, s.next)
		if p == nil {
			continue
		}
		s.packets++
		if err := w.decide(l.q, p); err != nil {
			l.fail(err)
		}
	}
	l.count.received.Add(s.packets)
	if err := w.flush(); err != nil {
		l.fail(err)
	}
	s.batch.recycle()
}

// resume implements sink.
func (s *inline) resume() {
	if s.next >= s.n {
		return
	}
	if err := s.w.exited(s.l.q, &s.batch.packets[s.next]); err != nil {
		s.l.fail(err)
	}
	s.next++
	s.run()
}

// finish implements sink: take has left nothing.
func (s *inline) finish() {}
