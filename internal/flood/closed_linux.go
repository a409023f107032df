package flood

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	replyBatch = 64
	// replyLen covers the longest IPv4 header and the words that parse reads;
	// the rest of a reply is cut off.
	replyLen = 60 + echoLen + 4
)

// runClosed keeps at most Window requests unanswered, until Count are answered
// or given up.
func (s *sender) runClosed() error {
	t := newTracker(s.cfg, s.c)
	in := newBatch(replyBatch, replyLen)
	for {
		left := s.remaining()
		if left == 0 && t.waiting == 0 {
			return nil
		}
		n := int(min(left, uint64(s.cfg.Burst), uint64(t.room(s.cfg.Window))))
		sent, refused := 0, false
		if n > 0 {
			var err error
			t.sending(n, s.now())
			if sent, err = s.send(n); err != nil {
				return err
			}
			t.unsent(n - sent)
			if refused = sent < n; refused {
				s.c.refused.Add(1)
			}
		}
		got, err := s.receive(in, t)
		if err != nil {
			return err
		}
		t.expire(s.now())
		if sent == 0 && got == 0 && t.waiting > 0 {
			events := int16(unix.POLLIN)
			if refused {
				events |= unix.POLLOUT
			}
			if err := s.poll(events); err != nil {
				return err
			}
		}
	}
}

// receive reads one batch of what has arrived and returns its length.
func (s *sender) receive(in *batch, t *tracker) (int, error) {
	n, err := in.receive(s.fd)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("flood: receive replies: %w", err)
	}
	for i := range n {
		if seq, ok := s.codec.parse(in.received(i)); ok {
			t.reply(seq)
		}
	}
	s.c.elapsedNanos.Store(int64(s.now()))
	return n, nil
}
