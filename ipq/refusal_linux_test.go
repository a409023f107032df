package ipq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

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

// A receive call that fails for want of memory is repeated.
func TestReceiveIsRepeatedWithoutMemory(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		fails := 3 // of the loop's goroutine
		q.loops[0].sock.recv = func(b *ring.Batch, fd int) (int, syscall.Errno) {
			if fails > 0 {
				fails--
				return 0, syscall.ENOMEM
			}
			return b.Recv(fd)
		}
		done := make(chan error, 1)
		go func() { done <- q.Run(t.Context(), accept) }()
		for range 10 {
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		}
		q.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.check()
		if s := q.Stats(); s.ReadRetries != 3 || s.Verdicts != 10 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A send buffer that has shrunk takes verdicts one by one. A payload that it
// does not take at all leaves the packet to be dropped, or with FailOpen
// accepted as it is.
func TestVerdictsOutgrowTheSendBuffer(t *testing.T) {
	for _, open := range []bool{false, true} {
		eachMode(t, func(t *testing.T, workers int) {
			const n, limit = 12, 600
			f := newFake(t)
			for range n {
				f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			}
			q := f.open(Config{Workers: workers, BatchSize: n, FailOpen: open})
			q.loops[0].sock.send = func(g *ring.Gather, fd int) syscall.Errno {
				if g.Size() > limit {
					return syscall.EMSGSIZE
				}
				return g.Send(fd)
			}
			small, large := udp4(2, make([]byte, 300)), udp4(3, make([]byte, 900))
			done := make(chan error, 1)
			go func() {
				done <- q.Run(t.Context(), HandlerFunc(func(p *Packet) Verdict {
					switch p.ID() % 3 {
					case 1:
						_ = p.SetPayload(small)
					case 2:
						_ = p.SetPayload(large)
					}
					return Accept.WithMark(5)
				}))
			}()
			for id := uint32(1); id <= n; id++ {
				v := f.verdict(id)
				want, payload, marked := uint32(1), []byte(nil), true
				switch id % 3 {
				case 1:
					payload = small
				case 2:
					marked = false
					if !open {
						want = 0
					}
				}
				if v.Verdict != want || !bytes.Equal(v.Payload(), payload) || (v.Attrs[zerocopy.AttrMark] != nil) != marked {
					t.Errorf("packet %d: verdict %d, payload of %d bytes, attributes %v", id, v.Verdict, len(v.Payload()), v.Attrs)
				}
			}
			q.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
			f.check()
			if s := q.Stats(); s.TooLarge != n/3 || s.Verdicts != n {
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
	q, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline, BatchSize: 16})
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
		if n%3 == 0 {
			return Drop
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
	if s.Accepted != c[0].Packets || s.Accepted == 0 || s.Accepted+s.Dropped+s.RefusedVerdicts != s.Verdicts {
		t.Errorf("%d packets went on; stats: %+v", c[0].Packets, s)
	}
	if s.Received <= before || s.RefusedVerdicts == 0 {
		t.Errorf("nothing was refused: %+v", s)
	}
}

// dropNetAdmin takes CAP_NET_ADMIN from the calling thread.
func dropNetAdmin() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	return os.NewSyscallError("capset", unix.Capset(&header, &data[0]))
}
