package bypass

import (
	"sync/atomic"
	"testing"

	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// A flow's first packets are inspected, in both directions together, and the
// rest is accepted in the kernel; other flows count for themselves.
func TestInspectorSettlesAfterEnough(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend Backend) {
		for _, tt := range []struct {
			enough Inspection
			want   uint64
		}{
			{Inspection{Packets: 5}, 5},
			{Inspection{Bytes: 4 * (28 + 5)}, 5}, // "there" has five bytes, "back" four
			{Inspection{Packets: 3, Bytes: 1 << 20}, 3},
		} {
			ns := labtest.New(t)
			b := newBypasser(t, ns, Config{Backend: backend})
			install(t, b, Rules{Hook: ipq.Output, Match: udp})
			var inspected atomic.Uint64
			h, err := b.Inspect(ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict {
				inspected.Add(1)
				return ipq.Accept
			}), tt.enough)
			if err != nil {
				t.Fatal(err)
			}
			_, stop := serve(t, ns, b, ipq.Config{}, h)
			for n := range 2 {
				p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
				for range 10 {
					p.exchange(t)
				}
				if got, want := inspected.Load(), tt.want*uint64(n+1); got != want {
					t.Errorf("%+v: %d packets inspected, want %d", tt.enough, got, want)
				}
			}
			stop()
		}
	})
}

// What is not a plain accept does not count, and is passed on.
func TestInspectorPassesVerdictsOn(t *testing.T) {
	ns := labtest.New(t)
	b := newBypasser(t, ns, Config{Backend: ConnMark})
	install(t, b, Rules{Hook: ipq.Output, Match: udp})
	verdicts := []ipq.Verdict{ipq.Accept.WithMark(1), ipq.Stop, ipq.Accept.WithMark(1), ipq.Accept}
	i := 0
	h, err := b.Inspect(ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict {
		i++
		return verdicts[(i-1)%len(verdicts)]
	}), Inspection{Packets: 2})
	if err != nil {
		t.Fatal(err)
	}
	q, stop := serve(t, ns, b, ipq.Config{Workers: ipq.Inline}, h)
	p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
	for range 20 {
		send(t, p.a, p.b, "x")
		receive(t, p.b)
	}
	stop()
	if s := q.Stats(); s.Received != 8 || s.Bypassed != 1 || s.BypassFailed != 0 || s.Stopped != 2 {
		t.Errorf("%+v", s)
	}
}

// A new connection on the ports of a settled one is inspected from its SYN on,
// also when packets of the old one still waited in front of it.
func TestInspectorStartsAnewWithASyn(t *testing.T) {
	n := labtest.NewNetwork(t)
	b := newBypasser(t, n.Router, Config{Backend: EBPF})
	install(t, b, Rules{Hook: ipq.Forward, Match: []Match{{Protocol: protoTCP}}})
	settled := make(chan bool, 100)
	h, err := b.Inspect(ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		if opensConnection(p) {
			e, err := b.Table().Lookup(p.Flow())
			settled <- err == nil && e.Live
		}
		return ipq.Accept
	}), Inspection{Packets: 4})
	if err != nil {
		t.Fatal(err)
	}
	// As a packet of the old connection would have settled it just before.
	late := ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		if opensConnection(p) {
			if err := b.Table().Insert(p.Flow(), ipq.Accept, Limits{}); err != nil {
				t.Error(err)
			}
		}
		return h.HandlePacket(p)
	})
	q, stop := serve(t, n.Router, b, ipq.Config{GSO: true}, late)
	for range 2 {
		transfer(t, n, 1<<20)
		if <-settled {
			t.Error("a SYN left its flow settled")
		}
	}
	stop()
	if s := q.Stats(); s.Received < 8 || s.Bypassed < 2 {
		t.Errorf("%d packets queued, %d bypassed", s.Received, s.Bypassed)
	}
}
