package flood

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// waitMillis bounds every wait, so that a request to stop is soon seen.
const waitMillis = 20

// A sender is the child's loop over one socket.
type sender struct {
	cfg   Config
	fd    int
	codec *codec
	out   *batch
	mixed bool   // packets differ in length
	fixed bool   // all go to one address
	next  uint64 // the number of the next request
	turns uint64 // of a paced schedule that are used: packets sent or refused
	c     *counters
	stop  atomic.Bool
	start time.Time
	epoch int64 // the start on CLOCK_MONOTONIC
}

// networkOrder returns a port as the kernel's socket addresses have it.
func networkOrder(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}

func newSender(cfg Config, fd int, run uint16, c *counters) *sender {
	s := &sender{
		cfg:   cfg,
		fd:    fd,
		codec: newCodec(cfg, run),
		mixed: len(cfg.Sizes) > 1,
		c:     c,
	}
	s.out = newBatch(cfg.Burst, slices.Max(s.codec.lens))
	first, fixed := cfg.to()
	s.fixed = fixed
	var port uint16
	if cfg.UDP {
		port = networkOrder(UDPPort)
	}
	s.out.sendTo(first, port)
	for i := range cfg.Burst {
		s.codec.prepare(s.out.slot(i))
	}
	return s
}

func (s *sender) run() error {
	if err := s.begin(); err != nil {
		return err
	}
	switch {
	case s.cfg.Window > 0:
		return s.runClosed()
	case s.cfg.Rate > 0:
		return s.runPaced()
	default:
		return s.runFlat()
	}
}

// begin takes the start on both clocks, which two readings of one enclose
// closely.
func (s *sender) begin() error {
	const close, tries = int64(2 * time.Microsecond), 1000
	for range tries {
		before, err := readClock(unix.CLOCK_MONOTONIC)
		if err != nil {
			return err
		}
		s.start = time.Now()
		after, err := readClock(unix.CLOCK_MONOTONIC)
		if err != nil {
			return err
		}
		if s.epoch = before; after-before < close {
			break
		}
	}
	return nil
}

func readClock(clock int32) (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("flood: clock_gettime: %w", err)
	}
	return ts.Nano(), nil
}

// now is the time since the start.
func (s *sender) now() time.Duration { return time.Since(s.start) }

// remaining is how many requests are still to be sent.
func (s *sender) remaining() uint64 {
	if s.stop.Load() {
		return 0
	}
	if s.cfg.Count == 0 {
		return math.MaxUint64
	}
	return s.cfg.Count - s.next
}

// send sends the next n requests, at most Burst, and returns how many the
// kernel took: fewer than n when the socket has no room.
func (s *sender) send(n int) (int, error) {
	for i := range n {
		flow := s.codec.write(s.out.slot(i), s.next+uint64(i))
		if !s.fixed {
			s.out.setHost(i, flow)
		}
		if s.cfg.Timed {
			s.codec.stamp(s.out.slot(i), s.epoch+int64(s.turn(s.turns+uint64(i))))
		}
		if s.mixed {
			s.out.setLen(i, s.codec.length(s.next+uint64(i)))
		}
	}
	sent, err := s.flush(n)
	s.next += uint64(sent)
	s.c.sent.Store(s.next)
	s.c.elapsedNanos.Store(int64(s.now()))
	return sent, err
}

// flush sends slots 0 to n. sendmmsg hides the error that ends it early, so it
// is called again to learn it.
func (s *sender) flush(n int) (sent int, err error) {
	for sent < n {
		k, err := s.out.send(s.fd, sent, n)
		sent += k
		switch {
		case err == nil, errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
			return sent, nil
		case errors.Is(err, unix.EPERM):
			// A rule on OUTPUT dropped the packet in our own call.
			s.c.dropped.Add(1)
			sent++
		default:
			return sent, fmt.Errorf("flood: send a packet of up to %d bytes: %w", s.cfg.Size, err)
		}
	}
	return sent, nil
}

// poll waits until the socket is ready for events, at most waitMillis.
func (s *sender) poll(events int16) error {
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: events}}, waitMillis)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("flood: poll: %w", err)
	}
	return nil
}
