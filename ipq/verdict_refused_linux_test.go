package ipq

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

// Refusals come back as messages. They are counted, and stop nothing.
func TestRefusedVerdictsAreCounted(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict { return Accept })
		for range 2 {
			if err := f.Send(fakekernel.ErrorMessage(uint32(syscall.ENOENT), zerocopy.TypeVerdict, 1)); err != nil {
				t.Fatal(err)
			}
		}
		f.RefuseVerdicts(syscall.EINVAL)
		f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		stop()
		if s := q.Stats(); s.UnknownVerdicts != 2 || s.RefusedVerdicts != 1 || s.Verdicts != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A packet whose verdict was refused still waits in the kernel, so it gets the
// plainest there is, once: a refusal of that is only counted.
func TestRefusedVerdictsAreReplaced(t *testing.T) {
	for _, batch := range []bool{false, true} {
		for _, open := range []bool{false, true} {
			f := newFake(t)
			f.RefuseVerdicts(syscall.EINVAL)
			workers, packets, typ := 2, 1, uint16(zerocopy.TypeVerdict)
			if batch {
				workers, packets, typ = Inline, 2, zerocopy.TypeVerdictBatch
			}
			for range packets {
				f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			}
			q, stop := f.serve(Config{Workers: workers, FailOpen: open}, func(p *Packet) Verdict { return Repeat })
			await(t, "another verdict", func() bool { return f.Counters().Again == 1 })
			want := uint32(0)
			if open {
				want = 1
			}
			for id := uint32(1); id <= uint32(packets); id++ {
				if v := f.verdict(id); v.Verdict != want || v.Batch != batch {
					t.Errorf("batch %v, fail open %v: %+v", batch, open, v)
				}
			}
			refusal := fakekernel.ErrorMessage(uint32(syscall.EINVAL), typ, 1)
			binary.NativeEndian.PutUint32(refusal[20+12:], secondTry) // nlmsg_pid of the message sent back
			if err := f.Send(refusal); err != nil {
				t.Fatal(err)
			}
			await(t, "both refusals", func() bool { return q.Stats().RefusedVerdicts == 2 })
			stop()
			f.check()
			if n, again := q.Stats().RefusedVerdicts, f.Counters().Again; n != 2 || again != 1 {
				t.Errorf("%d refusals, %d second verdicts", n, again)
			}
		}
	}
}

// Without the queue, or the right to it, no verdict can be given: Run ends and
// says which it is.
func TestRunEndsWithoutItsQueue(t *testing.T) {
	for errno, is := range map[syscall.Errno]func(error) bool{
		syscall.ENODEV: func(err error) bool { return errors.Is(err, ErrUnbound) },
		syscall.EPERM:  func(err error) bool { return errors.As(err, new(*CapabilityError)) },
	} {
		eachMode(t, func(t *testing.T, workers int) {
			f := newFake(t)
			q := f.open(Config{Workers: workers})
			done := make(chan error, 1)
			go func() { done <- q.Run(t.Context(), accept) }()
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
			if err := f.Send(fakekernel.ErrorMessage(uint32(errno), zerocopy.TypeVerdict, 1)); err != nil {
				t.Fatal(err)
			}
			var op *OpError
			if err := <-done; !is(err) || !errors.As(err, &op) || op.Queue != fakeNumber {
				t.Errorf("%v: Run: %v", errno, err)
			}
			if s := q.Stats(); s.RefusedVerdicts != 1 {
				t.Errorf("stats: %+v", s)
			}
		})
	}
}

// When the right to give verdicts is lost while the queue runs, Run says so, and
// what was accepted is what the kernel let through: no verdict that it refused
// stands among those that were given.
func TestKernelLosesTheCapability(t *testing.T) {
	ns := labtest.New(t)
	u := newUDPPath(t, ns, "127.0.0.1")
	later, err := ns.InstallCounter(netlab.Postrouting, 0, netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: udpPort})
	if err != nil {
		t.Fatal(err)
	}
	const before, after = 40, 50
	q, err := Open(Config{
		Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline, BatchSize: 16,
		OnPanic: Always(Stop), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for range before + after {
		u.send("text")
	}
	n := 0
	err = q.Run(t.Context(), HandlerFunc(func(p *Packet) Verdict {
		if n++; n == before+1 {
			// Of this thread, which then ends with the goroutine.
			runtime.LockOSThread()
			if err := dropNetAdmin(); err != nil {
				t.Error(err)
			}
		}
		switch {
		case n%3 == 0:
			return Drop
		case n%4 == 0:
			panic("on purpose")
		}
		return Accept
	}))
	if !errors.As(err, new(*CapabilityError)) {
		t.Errorf("Run: %v, want a CapabilityError", err)
	}
	c, err := later.Counters()
	if err != nil {
		t.Fatal(err)
	}
	s := q.Stats()
	if s.Accepted+s.Stopped != c[0].Packets || s.Accepted == 0 || s.Accepted+s.Stopped+s.Dropped+s.RefusedVerdicts != s.Verdicts {
		t.Errorf("%d packets went on; stats: %+v", c[0].Packets, s)
	}
	if s.DroppedBy.Handler != s.Dropped || s.PassedBy.Panic != s.Stopped || s.Dropped == 0 || s.Stopped == 0 {
		t.Errorf("by cause: %+v and %+v; stats: %+v", s.DroppedBy, s.PassedBy, s)
	}
	if s.Received <= before || s.RefusedVerdicts == 0 {
		t.Errorf("nothing was refused: %+v", s)
	}
}
