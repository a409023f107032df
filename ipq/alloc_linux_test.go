package ipq

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

// Nothing is allocated for a packet, whatever is done with it.
func TestNothingIsAllocatedPerPacket(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates; the run without it tells")
	}
	payload := udp4(1, []byte("text"))
	handlers := map[string]HandlerFunc{
		"accept":  func(p *Packet) Verdict { return Accept },
		"mixed":   func(p *Packet) Verdict { return Verdict(p.ID() & 1) },
		"mark":    func(p *Packet) Verdict { return Accept.WithMark(p.Mark() + 1) },
		"flow":    func(p *Packet) Verdict { return Verdict(p.Flow().Hash() & 1) },
		"rewrite": func(p *Packet) Verdict { b, _ := p.EditPayload(); b[28]++; return Accept },
		"replace": func(p *Packet) Verdict { _ = p.SetPayload(payload); return Accept },
		"panic":   func(p *Packet) Verdict { panic(errGoexit) },
	}
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, workers int) {
				q, far := bareQueue(t, Config{Workers: workers})
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
