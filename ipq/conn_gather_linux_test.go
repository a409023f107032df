package ipq

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/ring"
)

// gatherer returns a Conn of whose verdicts four leave at once, and how often it has
// written. n packets wait.
func gatherer(t *testing.T, wait time.Duration, n int, fail func() syscall.Errno) (f *fakeQueue, c *Conn, writes *atomic.Int64) {
	f, writes = newFake(t), new(atomic.Int64)
	f.alter = func(s *socket) {
		send := s.send
		s.send = func(g *ring.Gather, fd int) syscall.Errno {
			writes.Add(1)
			if fail != nil {
				if errno := fail(); errno != 0 {
					return errno
				}
			}
			return send(g, fd)
		}
	}
	c = f.connect(Config{BatchSize: 4, GatherFor: wait})
	for range n {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	return f, c, writes
}

// Verdicts that one goroutine gives leave when there are enough of them, and by Flush.
func TestConnGathersVerdicts(t *testing.T) {
	const packets = 10
	f, c, writes := gatherer(t, time.Hour, packets, nil)
	for id := uint32(1); id <= packets; id++ {
		if err := c.SetVerdict(id, Accept, udp4(uint16(id), []byte("text"))); err != nil {
			t.Fatal(err)
		}
		if n := writes.Load(); n != int64(id/4) {
			t.Errorf("%d writes after %d verdicts", n, id)
		}
	}
	for range 2 { // the second has nothing to do
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
	}
	if n := writes.Load(); n != 3 {
		t.Errorf("%d writes", n)
	}
	for id := uint32(1); id <= packets; id++ {
		if v := f.verdict(id); !bytes.Equal(v.Payload(), udp4(uint16(id), []byte("text"))) {
			t.Errorf("packet %d: %+v", id, v)
		}
	}
	f.check()
}

// A verdict that nothing follows leaves all the same.
func TestConnGathersNoLongerThanItMay(t *testing.T) {
	f, c, writes := gatherer(t, time.Millisecond, 2, nil)
	for id := uint32(1); id <= 2; id++ {
		if err := c.SetVerdict(id, Accept, nil); err != nil {
			t.Fatal(err)
		}
		f.verdict(id)
	}
	if n := writes.Load(); n != 2 {
		t.Errorf("%d writes", n)
	}
	f.check()
}

// Close writes what waits.
func TestConnCloseWritesWhatWaits(t *testing.T) {
	f, c, _ := gatherer(t, time.Hour, 1, nil)
	if err := c.SetVerdict(1, Accept, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	f.verdict(1)
	for what, err := range map[string]error{"SetVerdict": c.SetVerdict(1, Accept, nil), "SetVerdictBatch": c.SetVerdictBatch(1, Accept)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if err := c.Flush(); err != nil {
		t.Errorf("Flush after Close: %v", err)
	}
}

// A bundle that another verdict would not fit into leaves before.
func TestConnGathersWhatFits(t *testing.T) {
	f, c, writes := gatherer(t, time.Hour, 3, nil)
	large := make([]byte, 60_000) // two of which fit
	for id := uint32(1); id <= 3; id++ {
		if err := c.SetVerdict(id, Accept, udp4(uint16(id), large)); err != nil {
			t.Fatal(err)
		}
	}
	if n := writes.Load(); n != 1 {
		t.Errorf("%d writes before the last has left", n)
	}
	if err := c.Flush(); err != nil {
		t.Error(err)
	}
	for id := uint32(1); id <= 3; id++ {
		f.verdict(id)
	}
	f.check()
}

// That a write has failed which nobody waited for is said once, by what comes next.
func TestConnTellsOfGatheredWrites(t *testing.T) {
	var broken atomic.Bool
	_, c, _ := gatherer(t, time.Hour, 0, func() syscall.Errno {
		if broken.Swap(false) {
			return syscall.EBADF
		}
		return 0
	})
	for i, next := range []func() error{
		c.Flush, // which fails itself
		func() error {
			c.verdicts.timer.Reset(0)
			await(t, "the write", func() bool { return !broken.Load() })
			return c.SetVerdict(2, Accept, nil)
		},
		func() error {
			for range 2 {
				if err := c.SetVerdict(2, Accept, nil); err != nil {
					t.Error(err)
				}
			}
			return c.SetVerdict(2, Accept, nil) // which makes four
		},
	} {
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		broken.Store(true)
		if err := c.SetVerdict(1, Accept, nil); err != nil {
			t.Fatal(err)
		}
		if err := next(); !errors.Is(err, syscall.EBADF) {
			t.Errorf("%d: %v", i, err)
		}
		if err := c.Flush(); err != nil {
			t.Errorf("%d: told again: %v", i, err)
		}
	}
}

// From many goroutines each verdict leaves once, and Flush has all of those leave that
// were given before.
func TestConnGathersFromAnyGoroutine(t *testing.T) {
	const goroutines, each = 4, 40
	f, c, writes := gatherer(t, time.Hour, goroutines*each, nil)
	var all sync.WaitGroup
	for g := range uint32(goroutines) {
		all.Go(func() {
			for i := range uint32(each) {
				id := 1 + g + i*goroutines
				if err := c.SetVerdict(id, Accept, nil); err != nil {
					t.Error(err)
				}
				if i%10 != 9 {
					continue
				}
				if err := c.Flush(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := c.Flush(); err != nil {
		t.Error(err)
	}
	if n := writes.Load(); n > goroutines*each/2 {
		t.Errorf("%d writes of %d verdicts", n, goroutines*each)
	}
	f.check()
}
