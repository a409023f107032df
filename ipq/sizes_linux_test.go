package ipq

import (
	"bytes"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

// Packets of every length come whole and go on unharmed: those whose messages
// end anywhere between two multiples of four, which the kernel does not pad, and
// those beyond 4 KiB, of jumbo frames and of the largest datagrams.
func TestKernelPacketsOfEveryLength(t *testing.T) {
	const headers = 20 + 8 // of IPv4 and UDP
	lengths := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 1471, 1472, 1473, 4067, 4068, 4069, 8972, 9001, 16383, 65531 - headers}
	text := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz"), 2000)
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		u := newUDPPath(t, ns, "127.0.0.1")
		q, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers}, HandlerFunc(func(p *Packet) Verdict {
			b := p.Payload()
			if p.Truncated() || len(b) != p.Len() || len(b) < headers || !bytes.Equal(b[headers:], text[:len(b)-headers]) {
				t.Errorf("a packet of %d bytes came with %d, truncated: %v", p.Len(), len(b), p.Truncated())
			}
			return Accept
		}))
		for _, n := range lengths {
			u.send(string(text[:n]))
			if got := u.receive(); got != string(text[:n]) {
				t.Errorf("%d bytes arrived of %d", len(got), n)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if s := q.Stats(); s.Received != uint64(len(lengths)) || s.Truncated != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A flood of a queue that is full passes nothing, unless FailOpen is asked for:
// then everything passes.
func TestKernelFailOpenIsWhatWasAskedFor(t *testing.T) {
	const sent, room = 100, 10
	for _, x := range []struct {
		what string
		cfg  Config
	}{
		{"full queue", Config{MaxQueueLen: room}},
		{"full queue, with other flags", Config{MaxQueueLen: room, GSO: true}},
		{"full socket", Config{ReadBuffer: room * 832}},
	} {
		for _, open := range []bool{false, true} {
			ns := labtest.New(t)
			arrived, err := ns.InstallCounter(netlab.Input, 0, netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: udpPort})
			if err != nil {
				t.Fatal(err)
			}
			x.cfg.FailOpen = open
			q := sendUnserved(t, ns, x.cfg, sent, "text")
			// The kernel delivers what has passed when it gets to it.
			came := func(when string, want uint64) {
				var got uint64
				await(t, when, func() bool {
					c, err := arrived.Counters()
					if err != nil {
						t.Fatal(err)
					}
					got = c[0].Packets
					return got >= want
				})
				if got != want {
					t.Errorf("%s, fail open %v: %d arrived %s, want %d", x.what, open, got, when, want)
				}
			}
			queued := q.Stats().Waiting
			if queued == 0 || queued > sent/2 {
				t.Errorf("%s, fail open %v: %d were queued", x.what, open, queued)
			}
			past := uint64(0)
			if open {
				past = sent - queued
			}
			came("past the queue", past)
			drain(t, q)
			if s := q.Stats(); s.Received != queued {
				t.Errorf("%s, fail open %v: %d received, %d were queued", x.what, open, s.Received, queued)
			}
			came("in all", past+queued)
		}
	}
}
