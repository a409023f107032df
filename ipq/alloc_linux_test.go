package ipq

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/mdlayher/netlink"
)

// bareQueue opens a queue on a socket pair whose far end the test reads and
// writes itself, because a fake kernel allocates.
func bareQueue(t *testing.T, cfg Config) (q *Queue, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	conn := netlink.NewConn(&fakekernel.Socket{
		File:   os.NewFile(uintptr(fds[0]), "queue"),
		Config: func(netlink.Message) error { return nil },
	}, 1)
	if cfg, err = cfg.withDefaults(); err != nil {
		t.Fatal(err)
	}
	q, err = openQueue(cfg, func(cfg *Config, queue uint16) (*socket, error) { return newSocket(cfg, queue, conn) })
	if err != nil {
		t.Fatal(err)
	}
	return q, fds[1]
}

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
