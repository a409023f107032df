package flood

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// wakeInterval is how much of the schedule one wake-up of a paced flood covers:
// short against any queue's depth, long against the cost of waking.
const wakeInterval = 100 * time.Microsecond

// runFlat sends as fast as the kernel takes the packets.
func (s *sender) runFlat() error {
	for {
		n := int(min(s.remaining(), uint64(s.cfg.Burst)))
		if n == 0 {
			return nil
		}
		sent, err := s.send(n)
		if err != nil {
			return err
		}
		if sent < n {
			s.c.refused.Add(1)
			// Writable again when half of the send buffer is free.
			if err := s.poll(unix.POLLOUT); err != nil {
				return err
			}
		}
	}
}

// runPaced sends packet n when n/Rate has passed since the start.
func (s *sender) runPaced() error {
	// The default slack of 50 µs would stretch every wait by half.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("flood: PR_SET_TIMERSLACK: %w", err)
	}
	group := uint64(math.Ceil(s.cfg.Rate * wakeInterval.Seconds()))
	group = min(group, uint64(s.cfg.Burst))
	if s.cfg.Timed {
		group = 1 // a packet that waits for others of its group would seem slow
	}

	for s.remaining() > 0 {
		now := s.now()
		begun := uint64(now.Seconds()*s.cfg.Rate) + 1 // turns whose time has come
		if s.turns >= begun {
			if next := s.turn(s.turns + group - 1); !s.cfg.Timed || next-now > wakeInterval {
				s.sleepUntil(next)
			} // else look at the clock until then: a sleeper wakes late
			continue
		}
		due := begun - s.turns
		if lag := int64(now - s.turn(s.turns)); lag > s.c.maxLagNanos.Load() {
			s.c.maxLagNanos.Store(lag)
		}
		if most := uint64(s.cfg.CatchUp.Seconds() * s.cfg.Rate); s.cfg.CatchUp > 0 && due > max(most, group) {
			missed := due - max(most, group)
			s.c.refused.Add(missed)
			s.turns += missed
			due -= missed
		}
		n := int(min(due, s.remaining(), uint64(s.cfg.Burst)))
		if n == 0 {
			return nil
		}
		sent, err := s.send(n)
		if err != nil {
			return err
		}
		s.turns += uint64(sent)
		if sent < n {
			missed := due - uint64(sent)
			s.c.refused.Add(missed)
			s.turns += missed
		}
	}
	return nil
}

// turn is when packet n of the schedule is due.
func (s *sender) turn(n uint64) time.Duration {
	return time.Duration(float64(n) / s.cfg.Rate * float64(time.Second))
}

// sleepUntil sleeps until t after the start, at most waitMillis. A signal may
// cut it short: the caller looks at the clock again.
func (s *sender) sleepUntil(t time.Duration) {
	wait := min(t-s.now(), waitMillis*time.Millisecond)
	if wait <= 0 {
		return
	}
	ts := unix.NsecToTimespec(int64(wait))
	unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
}
