package ipq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
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

// await waits until cond holds, and fails the test if it never does.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// feed queues n packets of one flow, from another goroutine because the socket
// pair may be full.
func feed(t *testing.T, far, n int) (done <-chan error) {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		for i := range n {
			m := (&fakekernel.Packet{Payload: udp4(1, nil)}).Message(0, uint32(i+1))
			if _, err := unix.Write(far, m); err != nil {
				result <- err
				return
			}
		}
		result <- nil
	}()
	return result
}

// writtenIDs reads the datagrams that the queue has written, or will until
// there were want of them, and returns the ids that each decides.
func writtenIDs(t *testing.T, far, want int) (ids []uint32) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for len(ids) < want {
		n, err := unix.Read(far, buf)
		if err != nil || n == 0 {
			t.Fatalf("after %d verdicts: %d bytes, %v", len(ids), n, err)
		}
		for b := buf[:n]; len(b) > 0; {
			_, msg, rest, ok := zerocopy.NextMessage(b)
			if !ok {
				t.Fatalf("%d bytes are no message: % x", len(b), b)
			}
			ids = append(ids, binary.BigEndian.Uint32(msg[28:])) // of struct nfqnl_msg_verdict_hdr
			b = rest
		}
	}
	return ids
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

// Conn repeats writes, too.
func TestConnRepeatsWrites(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	const n = 2000
	for id := range uint32(n) {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		p, err := c.Read(0)
		if err != nil || p.ID() != id+1 {
			t.Fatal(err)
		}
		if err := c.Decide(p, Accept); err != nil {
			t.Fatal(err)
		}
	}
	f.verdict(n)
	f.check()
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
		q := f.open(Config{Workers: workers})
		q.loops[0].sock.sendLimit = limit
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
	c := newFake(t).connect(Config{})
	c.sock.sendLimit = 4096 // of a Conn, too
	if err := c.SetVerdict(1, Accept, udp4(1, make([]byte, 4096-28))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("SetVerdict: %v, want ErrTooLarge", err)
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

// Verdicts with a mark are longer, and counted as such.
func TestMarkedVerdictsFitTheSendBuffer(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const marked = zerocopy.VerdictLen + 8
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		q.loops[0].sock.sendLimit = 5 * marked
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
		q := openOn(t, Config{}, conn)
		defer q.Close()
		s := q.loops[0].sock
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
