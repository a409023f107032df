package ipq

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

func TestVerdictsReachTheKernel(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		verdicts := []Verdict{Drop, Accept, Repeat, Stop, Requeue(300),
			Accept.WithMark(0xfeed), Drop.WithMark(0), Requeue(9).WithMark(7)}
		q, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict { return verdicts[p.Mark()-1] })
		for i := range verdicts {
			f.queue(fakekernel.Packet{Mark: uint32(i + 1), Payload: udp4(uint16(i), nil)})
		}
		want := []uint32{0, 1, 4, 5, 300<<16 | 3, 1, 0, 9<<16 | 3}
		marks := map[int]uint32{5: 0xfeed, 6: 0, 7: 7}
		for i := range verdicts {
			v := f.verdict(uint32(i + 1))
			if v.Verdict != want[i] {
				t.Errorf("%v: kernel got %#x, want %#x", verdicts[i], v.Verdict, want[i])
			}
			got, marked := v.Attrs[zerocopy.AttrMark]
			if mark, want := marks[i]; marked != want || marked && binary.BigEndian.Uint32(got) != mark {
				t.Errorf("%v: kernel got mark %x", verdicts[i], got)
			}
		}
		stop()
		f.check()
		s := q.Stats()
		if s.Accepted != 2 || s.Dropped != 2 || s.Repeated != 1 || s.Stopped != 1 || s.Requeued != 2 || s.Verdicts != 8 || s.Received != 8 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// In Inline mode a run of equal plain verdicts is one message, and nothing
// else is.
func TestInlineRunsBecomeBatches(t *testing.T) {
	f := newFake(t)
	marked := Accept.WithMark(1)
	give := []Verdict{Accept, Accept, Accept, Drop, Drop, marked, marked, Accept, Drop, Drop}
	batch := []bool{true, true, true, true, true, false, false, false, true, true}
	for i := range give {
		f.queue(fakekernel.Packet{Mark: uint32(i + 1), Payload: udp4(1, nil)})
	}
	q, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict { return give[p.Mark()-1] })
	for i := range give {
		v := f.verdict(uint32(i + 1))
		if v.Batch != batch[i] || v.Verdict != give[i].kernel() || v.Write != 1 {
			t.Errorf("packet %d: verdict %d, by a batch %v (want %v), in write %d", i+1, v.Verdict, v.Batch, batch[i], v.Write)
		}
	}
	stop()
	f.check()
	if s := q.Stats(); s.Messages != 6 || s.Writes != 1 || s.Verdicts != 10 {
		t.Errorf("%d messages in %d writes for %d verdicts, want 6 in 1 for 10", s.Messages, s.Writes, s.Verdicts)
	}
}

// With a pool no verdict may decide more than its own packet.
func TestPoolNeverWritesBatches(t *testing.T) {
	f := newFake(t)
	_, stop := f.serve(Config{Workers: 4}, func(p *Packet) Verdict { return Accept })
	for i := range 200 {
		f.queue(fakekernel.Packet{Payload: udp4(uint16(i%5), nil)})
	}
	for i := range 200 {
		if f.verdict(uint32(i + 1)).Batch {
			t.Fatalf("packet %d was decided by a batch", i+1)
		}
	}
	stop()
	f.check()
}

func TestUnknownVerdictIsDrop(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		bad := []Verdict{2, 6, 255, Verdict(2).WithMark(1), 3<<16 | 2} // NF_STOLEN among them
		q, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict { return bad[p.ID()-1] })
		for range bad {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		for i := range bad {
			if v := f.verdict(uint32(i + 1)); v.Verdict != 0 {
				t.Errorf("%v became %#x", bad[i], v.Verdict)
			}
		}
		stop()
		if s := q.Stats(); s.InvalidVerdicts != uint64(len(bad)) || s.Dropped != uint64(len(bad)) {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A handler that panics or exits its goroutine harms its own packet only.
func TestPanicsAreContained(t *testing.T) {
	for what, fall := range map[string]func(){
		"panic":      func() { panic("on purpose") },
		"panic(nil)": func() { panic(nil) }, // which recover then does not show
		"goexit":     runtime.Goexit,
	} {
		t.Run(what, func(t *testing.T) {
			t.Setenv("GODEBUG", "panicnil=1")
			eachMode(t, func(t *testing.T, workers int) {
				f := newFake(t)
				var log syncBuffer
				q, stop := f.serve(Config{
					Workers: workers,
					OnPanic: Accept.WithMark(13),
					Logger:  slog.New(slog.NewTextHandler(&log, nil)),
				}, func(p *Packet) Verdict {
					if p.ID()%3 == 0 {
						// What was edited before must not be sent.
						if err := p.SetPayload(udp4(1, []byte("edited"))); err != nil {
							t.Error(err)
						}
						fall()
					}
					return Accept
				})
				const n = 100
				for i := range n {
					f.queue(fakekernel.Packet{Payload: udp4(uint16(i), nil)})
				}
				for id := uint32(1); id <= n; id++ {
					v := f.verdict(id)
					_, marked := v.Attrs[zerocopy.AttrMark]
					if v.Verdict != 1 || marked != (id%3 == 0) || v.Payload() != nil {
						t.Errorf("packet %d: %+v", id, v)
					}
				}
				stop()
				f.check()
				if s := q.Stats(); s.Panics != n/3 || s.Received != n || s.Verdicts != n {
					t.Errorf("stats: %+v", s)
				}
				if got := strings.Count(log.String(), "handler panicked"); got != 1 {
					t.Errorf("logged %d times: %s", got, log.String())
				}
			})
		})
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A packet that cannot be decoded is decided by its id.
func TestUndecodablePackets(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for _, open := range []bool{false, true} {
			f := newFake(t)
			q, stop := f.serve(Config{Workers: workers, FailOpen: open}, func(p *Packet) Verdict {
				t.Errorf("handler called for %d", p.ID())
				return Repeat
			})
			short := fakekernel.Attr(nil, zerocopy.AttrMark, []byte{1, 2})
			id := f.queue(fakekernel.Packet{Raw: short})
			want := uint32(0)
			if open {
				want = 1
			}
			if v := f.verdict(id); v.Verdict != want {
				t.Errorf("fail open %v: verdict %d", open, v.Verdict)
			}
			// Neither an id nor a packet: counted, and the loop goes on.
			whole := (&fakekernel.Packet{}).Message(fakeNumber, 99)
			for _, b := range [][]byte{whole[:22], {1, 2, 3}, fakekernel.ErrorMessage(0, zerocopy.TypeConfig, 1)} {
				if err := f.Send(b); err != nil {
					t.Fatal(err)
				}
			}
			f.verdict(f.queue(fakekernel.Packet{Raw: short}))
			stop()
			f.check()
			if s := q.Stats(); s.Undecodable != 4 || s.OtherMessages != 1 || s.Received != 2 || s.Verdicts != 2 {
				t.Errorf("stats: %+v", s)
			}
		}
	})
}

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
