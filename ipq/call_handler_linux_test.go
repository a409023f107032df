package ipq

import (
	"encoding/binary"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/race"
	"github.com/goipq/goipq/internal/zerocopy"
)

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
					OnPanic: Always(Accept.WithMark(13)),
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

// Nothing is allocated for a packet, whatever is done with it.
func TestNothingIsAllocatedPerPacket(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates; the run without it tells")
	}
	payload := udp4(1, []byte("text"))
	handlers := map[string]HandlerFunc{
		"accept":  func(p *Packet) Verdict { return Accept },
		"mixed":   func(p *Packet) Verdict { return Verdict(p.ID() & 1) },
		"mark":    func(p *Packet) Verdict { return Accept.WithMark(p.Mark() + 1) },
		"bits":    func(p *Packet) Verdict { p.SetMark(1, 3); _ = p.SetConnMark(1, 3); return Accept },
		"flow":    func(p *Packet) Verdict { return Verdict(p.Flow().Hash() & 1) },
		"rewrite": func(p *Packet) Verdict { b, _ := p.EditPayload(); b[28]++; return Accept },
		"replace": func(p *Packet) Verdict { _ = p.SetPayload(payload); return Accept },
		"panic":   func(p *Packet) Verdict { panic(errGoexit) },
	}
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, workers int) {
				q, far := bareQueue(t, Config{Workers: workers, Histograms: name != "accept"}) // they allocate nothing either
				done := make(chan error)
				go func() { done <- q.Run(t.Context(), h) }()
				defer func() {
					q.Close()
					if err := <-done; err != nil {
						t.Error(err)
					}
				}()

				const n = 64
				var msgs [n][]byte
				for i := range msgs {
					msgs[i] = (&fakekernel.Packet{Payload: udp4(uint16(i), []byte("text"))}).Message(0, uint32(i+1))
				}
				buf := make([]byte, 64<<10)
				round := func() {
					for _, m := range msgs {
						if _, err := unix.Write(far, m); err != nil {
							t.Fatal(err)
						}
					}
					for decided := 0; decided < n; {
						size, err := unix.Read(far, buf)
						if err != nil {
							t.Fatal(err)
						}
						for b := buf[:size]; len(b) > 0; {
							h, msg, rest, ok := zerocopy.NextMessage(b)
							if !ok {
								t.Fatalf("%d bytes are no message", len(b))
							}
							if workers == Inline {
								decided = int(binary.BigEndian.Uint32(msg[28:])) // in order, so up to this id
							} else {
								decided++
							}
							_, b = h, rest
						}
					}
				}
				for range 20 {
					round() // goroutines, and the pool's own memory
				}
				if a := testing.AllocsPerRun(50, round) / n; a > 0.001 {
					t.Errorf("%v allocations a packet", a)
				}
			})
		})
	}
}
