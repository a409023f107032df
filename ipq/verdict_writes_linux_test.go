package ipq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// One write carries the verdicts of a batch; FlushAfter sends those of slow
// handlers earlier.
func TestFlushAfter(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		for range 4 {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		_, stop := f.serve(Config{Workers: workers, FlushAfter: 1}, func(p *Packet) Verdict {
			// The verdict before this one is out while this handler runs.
			if p.ID() > 1 {
				f.verdict(p.ID() - 1)
			}
			return Accept
		})
		for id := uint32(1); id <= 4; id++ {
			if v := f.verdict(id); v.Write != int(id) {
				t.Errorf("packet %d was decided in write %d", id, v.Write)
			}
		}
		stop()
		f.check()
	})
}

// FlushAfter counts from the oldest verdict that waits: after a write it begins
// anew.
func TestFlushAfterBeginsAnewWithEachWrite(t *testing.T) {
	f := newFake(t)
	const n = 6
	// A batch in which time passes as the handlers say, by shifting the moment
	// from which it is counted.
	old := map[uint32]bool{2: true, 5: true}
	q := f.open(Config{Workers: Inline, FlushAfter: time.Hour})
	start := monotonic()
	for range n {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	done := make(chan error, 1)
	go func() {
		done <- q.Run(t.Context(), HandlerFunc(func(p *Packet) Verdict {
			w := q.loops[0].to.(*inline).w
			if w.since < start {
				t.Errorf("packet %d: time counts from %v, before the batch", p.ID(), w.since)
			}
			if old[p.ID()] {
				w.since -= 2 * time.Hour
			}
			return Accept
		}))
	}()
	for i, want := range []int{1, 1, 2, 2, 2, 3} {
		if v := f.verdict(uint32(i + 1)); v.Write != want {
			t.Errorf("packet %d was decided in write %d, want %d", i+1, v.Write, want)
		}
	}
	q.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s := q.Stats(); s.Writes != 3 || s.Verdicts != n {
		t.Errorf("stats: %+v", s)
	}
}

// To a kernel that takes no verdicts for a while none are lost: they are
// written again, in order, and the attempts are counted.
func TestWritesAreRepeatedWhileTheSocketIsFull(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const n = 1000 // more writes than a socket pair holds
		q, far := bareQueue(t, Config{Workers: workers, BatchSize: 1})
		done := make(chan error, 1)
		go func() { done <- q.Run(t.Context(), accept) }()
		fed := feed(t, far, n)
		await(t, "a write that has to be repeated", func() bool { return q.Stats().WriteRetries > 0 })
		if p, ok := q.loops[0].to.(*pool); ok {
			for k, st := range p.strands {
				// In flight until it is written, so that its flow stays here.
				if done, written := st.shares.Load(), st.w.count.n[countWrites].Load(); uint64(done) > written && q.loops[0].failure.Load() == nil {
					t.Errorf("strand %d: %d shares done, %d written", k, done, written)
				}
			}
		}
		for i, id := range writtenIDs(t, far, n) {
			if id != uint32(i+1) {
				t.Fatalf("verdict %d is on packet %d", i+1, id)
			}
		}
		if err := <-fed; err != nil {
			t.Fatal(err)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if s := q.Stats(); s.WriteRetries == 0 || s.Verdicts != n || s.Accepted != n || s.Writes != n || s.Received != n {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A kernel that takes no verdicts at all ends Run with an error, and only what
// was written counts as decided.
func TestRunFailsWhenNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	q, far := bareQueue(t, Config{Workers: Inline, BatchSize: 1})
	done := make(chan error, 1)
	go func() { done <- q.Run(t.Context(), accept) }()
	fed := feed(t, far, 1000)
	var op *OpError
	if err := <-done; !errors.Is(err, syscall.EAGAIN) || !errors.As(err, &op) || op.Queue != 0 {
		t.Errorf("Run: %v, want EAGAIN", err)
	}
	s := q.Stats()
	if s.WriteRetries != maxRetries || s.Received != s.Verdicts+1 || s.Verdicts != s.Accepted {
		t.Errorf("stats: %+v; want %d retries for one packet", s, maxRetries)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	<-fed
	if n := len(writtenIDs(t, far, int(s.Verdicts))); n != int(s.Writes) {
		t.Errorf("%d verdicts in %d writes", n, s.Writes)
	}
	if n, err := unix.Read(far, make([]byte, 64)); n > 0 || err != nil && err != unix.ECONNRESET {
		t.Errorf("%d bytes more than were counted, %v", n, err)
	}
}

// A batch of edited payloads is one write, however small the batch is.
func TestEveryPayloadOfABatchIsWritten(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for _, size := range []int{1, 2, 5} {
			f := newFake(t)
			for range size {
				f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			}
			q, stop := f.serve(Config{Workers: workers, BatchSize: size}, func(p *Packet) Verdict {
				if err := p.SetPayload(udp4(1, []byte{byte(p.ID())})); err != nil {
					t.Error(err)
				}
				return Accept
			})
			for id := range uint32(size) {
				if v := f.verdict(id + 1); v.Write != 1 || !bytes.Equal(v.Payload(), udp4(1, []byte{byte(id + 1)})) {
					t.Errorf("packet %d of %d: %+v", id+1, size, v)
				}
			}
			stop()
			f.check()
			if s := q.Stats(); s.Modified != uint64(size) || s.Writes != 1 {
				t.Errorf("stats: %+v", s)
			}
		}
	})
}

// The bytes that pad a payload are zero, whatever lay there before.
func TestPaddingIsZero(t *testing.T) {
	q, far := bareQueue(t, Config{Workers: Inline, BatchSize: 1})
	done := make(chan error, 1)
	var length atomic.Int64
	go func() {
		done <- q.Run(t.Context(), HandlerFunc(func(p *Packet) Verdict {
			if err := p.SetPayload(udp4(1, bytes.Repeat([]byte{0xff}, int(length.Load())))); err != nil {
				t.Error(err)
			}
			return Accept
		}))
	}()
	buf := make([]byte, 4096)
	for _, n := range []int64{40, 33, 32, 31, 30} {
		length.Store(n)
		if err := <-feed(t, far, 1); err != nil {
			t.Fatal(err)
		}
		m, err := unix.Read(far, buf)
		if err != nil {
			t.Fatal(err)
		}
		size := int(binary.NativeEndian.Uint32(buf)) // nlmsg_len, without padding
		if want := size + zerocopy.Pad(size); m != want || !bytes.Equal(buf[size:m], make([]byte, m-size)) {
			t.Errorf("payload of %d bytes: %d bytes written, want %d; padding % x", 28+n, m, want, buf[size:m])
		}
	}
	q.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A small send buffer splits payloads over writes, as many to each as it takes.
func TestPayloadsFillTheSendBuffer(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const limit, n = 4096, 16
		f := newFake(t)
		f.alter = func(s *socket) { s.sendLimit = limit }
		q := f.open(Config{Workers: workers})
		medium := udp4(1, make([]byte, 1000))
		for range n {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		done := make(chan error, 1)
		go func() {
			done <- q.Run(t.Context(), HandlerFunc(func(p *Packet) Verdict {
				if err := p.SetPayload(medium); err != nil {
					t.Error(err)
				}
				return Accept
			}))
		}()
		size := map[int]int{}
		for id := range uint32(n) {
			v := f.verdict(id + 1)
			size[v.Write] += zerocopy.VerdictLen + zerocopy.AttrHeaderLen + len(v.Payload())
			if !bytes.Equal(v.Payload(), medium) {
				t.Errorf("packet %d: payload of %d bytes", id+1, len(v.Payload()))
			}
		}
		for w, bytes := range size {
			if bytes > limit {
				t.Errorf("write %d had %d bytes, more than %d", w, bytes, limit)
			}
		}
		if q.Close(); len(size) != (n+2)/3 { // three payloads fit
			t.Errorf("%d writes for %d payloads", len(size), n)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	f := newFake(t)
	f.alter = func(s *socket) { s.sendLimit = 4096 }
	c := f.connect(Config{}) // of a Conn, too
	if err := c.SetVerdict(1, Accept, udp4(1, make([]byte, 4096-28))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("SetVerdict: %v, want ErrTooLarge", err)
	}
}

// Many large payloads do not fit into one write.
func TestLargePayloadsAreSplitOverWrites(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		big := udp4(1, bytes.Repeat([]byte("x"), 60000))
		const n = 16
		for range n {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		q, stop := f.serve(Config{Workers: workers, BatchSize: n}, func(p *Packet) Verdict {
			if err := p.SetPayload(big); err != nil {
				t.Error(err)
			}
			return Accept
		})
		last := 0
		for id := uint32(1); id <= n; id++ {
			v := f.verdict(id)
			if !bytes.Equal(v.Payload(), big) {
				t.Fatalf("packet %d: payload of %d bytes", id, len(v.Payload()))
			}
			if v.Write < last {
				t.Errorf("packet %d was decided in write %d, after %d", id, v.Write, last)
			}
			last = v.Write
		}
		stop()
		f.check()
		if s := q.Stats(); s.Modified != n || s.Verdicts != n || s.Writes < n/2 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// Verdicts with a mark are longer, and counted as such.
func TestMarkedVerdictsFitTheSendBuffer(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const marked = zerocopy.VerdictLen + 8
		f := newFake(t)
		f.alter = func(s *socket) { s.sendLimit = 5 * marked }
		q := f.open(Config{Workers: workers})
		for range 16 {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		done := make(chan error, 1)
		go func() {
			done <- q.Run(t.Context(), HandlerFunc(func(*Packet) Verdict { return Accept.WithMark(1) }))
		}()
		perWrite := map[int]int{}
		for id := range uint32(16) {
			perWrite[f.verdict(id+1).Write]++
		}
		for w, n := range perWrite {
			if n > 5 {
				t.Errorf("write %d had %d verdicts of %d bytes, more than %d bytes", w, n, marked, 5*marked)
			}
		}
		q.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A small socket buffer bounds each write, and with it each payload.
func TestWritesFitTheSocketBuffer(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		f.alter = func(s *socket) { s.sendLimit = 160 } // five plain verdicts
		q := f.open(Config{Workers: workers})
		const n = 16
		for i := range n {
			f.queue(fakekernel.Packet{Payload: udp4(uint16(i), make([]byte, 100))})
		}
		done := make(chan error)
		go func() {
			done <- q.Run(t.Context(), HandlerFunc(func(p *Packet) Verdict {
				if err := p.SetPayload(udp4(1, make([]byte, 100))); !errors.Is(err, ErrTooLarge) {
					t.Errorf("SetPayload: %v", err)
				}
				if _, err := p.EditPayload(); !errors.Is(err, ErrTooLarge) {
					t.Errorf("EditPayload: %v", err)
				}
				return Verdict(p.ID() & 1) // no runs
			}))
		}()
		writes := map[int]int{}
		for id := uint32(1); id <= n; id++ {
			writes[f.verdict(id).Write]++
		}
		for w, n := range writes {
			if n > 5 {
				t.Errorf("write %d carried %d verdicts", w, n)
			}
		}
		q.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.check()
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
			f.alter = f.calls
			f.LimitSend(limit)
			q := f.open(Config{Workers: workers, BatchSize: n, FailOpen: open})
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
			// Counted as what it got.
			s := q.Stats()
			accepted, by := uint64(n), s.PassedBy
			if !open {
				accepted, by = n-n/3, s.DroppedBy
			}
			if s.TooLarge != n/3 || s.Verdicts != n || s.Accepted != accepted || s.Dropped != n-accepted || by != (Causes{TooLarge: n / 3}) {
				t.Errorf("%+v", s.Counts)
			}
		})
	}
}

// A fixedSocket has a send buffer that does not grow.
type fixedSocket struct{ *fakekernel.Socket }

func (fixedSocket) SetWriteBuffer(int) error { return nil }

// One write may have what the send buffer takes: it is made large enough for
// two payloads, and where that is refused writes are smaller.
func TestSendLimitIsThatOfTheSocket(t *testing.T) {
	for _, grow := range []bool{false, true} {
		bare, _ := bareSocket(t, func(netlink.Message) error { return nil })
		const small = 16384
		if err := bare.SetWriteBuffer(small / 2); err != nil { // which the kernel doubles
			t.Fatal(err)
		}
		conn := netlink.NewConn(bare, 1)
		if !grow {
			conn = netlink.NewConn(fixedSocket{bare}, 1)
		}
		s, err := socketOn(&Config{}, 0, conn)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		granted, err := bare.WriteBuffer()
		if err != nil {
			t.Fatal(err)
		}
		if want := min(granted-32, nfsock.MaxSendLimit); s.sendLimit != want || grow != (granted > small) {
			t.Errorf("grow %v: limit %d, want %d of %d bytes", grow, s.sendLimit, want, granted)
		}
		list := ring.NewGather(1, 1)
		list.Add(make([]byte, s.sendLimit))
		if errno := list.Send(s.FD()); errno != 0 {
			t.Errorf("grow %v: a write of %d bytes: %v", grow, s.sendLimit, errno)
		}
	}
}
