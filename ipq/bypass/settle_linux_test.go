package bypass

import (
	"fmt"
	"testing"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
	"golang.org/x/sys/unix"
)

var udp = []Match{{Protocol: unix.IPPROTO_UDP}}

// At every hook, over both versions of IP: the packet that settles its flow is
// the only one that is queued, the later chains see the others, too, and one
// entry stands for both directions.
func TestSettledFlowsAreNotQueued(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend Backend) {
		for _, hook := range []ipq.Hook{ipq.Prerouting, ipq.Input, ipq.Forward, ipq.Output, ipq.Postrouting} {
			for _, addrs := range [][2]string{{"10.1.0.1:0", "10.2.0.1:0"}, {"[fd01::1]:0", "[fd02::1]:0"}} {
				t.Run(fmt.Sprintf("%v %s", hook, addrs[0]), func(t *testing.T) {
					if backend == EBPF {
						needBPF(t)
					}
					n := labtest.NewNetwork(t)
					where := n.Client
					if hook == ipq.Forward {
						where = n.Router
					}
					later, err := where.InstallCounter(netlab.Hook(hook), 10, netlab.Match{L4Proto: unix.IPPROTO_UDP})
					if err != nil {
						t.Fatal(err)
					}
					p := newPair(t, n.Client, addrs[0], n.Server, addrs[1])
					b := newBypasser(t, where, Config{Backend: backend})
					rules := install(t, b, Rules{Hook: hook, Match: udp})
					q, stop := serve(t, where, b, ipq.Config{}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() }))
					const rounds = 5
					for range rounds {
						p.exchange(t)
					}
					stop()
					passed := uint64(rounds) // a host's Input and Output see one direction
					if hook == ipq.Forward || hook == ipq.Prerouting && where == n.Router {
						passed = 2 * rounds
					}
					if s := q.Stats(); s.Received != 1 || s.Bypassed != 1 || s.BypassFailed != 0 {
						t.Errorf("queue: %d packets, %d bypassed, %d failed, want 1, 1, 0", s.Received, s.Bypassed, s.BypassFailed)
					}
					c, err := rules.Counters()
					if err != nil || c.Accepted.Packets != passed-1 || c.Queued.Packets != 1 || c.Dropped.Packets != 0 {
						t.Errorf("rules: %+v, %v, want %d accepted and 1 queued", c, err, passed-1)
					}
					if seen, err := later.Counters(); err != nil || seen[0].Packets != passed {
						t.Errorf("a later chain saw %+v, %v, want %d packets", seen, err, passed)
					}
				})
			}
		}
	})
}

// A flow that was dropped stays so, without its packets being queued.
func TestSettledDrops(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend Backend) {
		ns := labtest.New(t)
		b := newBypasser(t, ns, Config{Backend: backend})
		rules := install(t, b, Rules{Hook: ipq.Input, Match: udp})
		p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
		other := newPair(t, ns, "127.0.0.2:0", ns, "127.0.0.1:0")
		dropped := p.flow()
		q, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
			if p.Flow() == dropped {
				return ipq.Drop.Bypass()
			}
			return ipq.Accept
		}))
		const count = 20
		for range count {
			send(t, p.a, p.b, "to be dropped")
			send(t, other.a, other.b, "to pass")
			if got := receive(t, other.b); got != "to pass" {
				t.Errorf("received %q", got)
			}
		}
		stop()
		// The first of them waits for its verdict while others may come.
		c, err := rules.Counters()
		if err != nil {
			t.Fatal(err)
		}
		if c.Accepted.Packets != 0 || c.Dropped.Packets+c.Queued.Packets != 2*count || c.Dropped.Packets == 0 {
			t.Errorf("rules: %+v", c)
		}
		if s := q.Stats(); s.Received != c.Queued.Packets || s.Bypassed == 0 {
			t.Errorf("queue: %+v", s)
		}
	})
}

// What the kernel decided and what the queue received are together what the
// sender sent, to the packet and the byte.
func TestCountersAgreeWithTheSender(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend Backend) {
		for _, ipv6 := range []bool{false, true} {
			ns := labtest.New(t)
			b := newBypasser(t, ns, Config{Backend: backend})
			rules := install(t, b, Rules{Hook: ipq.Output, Match: []Match{{EchoRequest: true}}})
			q, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() }))
			const count, size, flows = 20_000, 100, 64
			if backend == ConnMark {
				// Connection tracking drops a flow's second packet if it comes
				// while the first one waits, with or without a bypass.
				sent := runFlood(t, ns, flood.Config{IPv6: ipv6, Count: flows, Size: size, Flows: flows, Window: 1})
				if c, err := rules.Counters(); err != nil || sent.Replies != flows || c.Queued.Packets != flows || c.Accepted.Packets != 0 {
					t.Errorf("%+v, %v, answered %d", c, err, sent.Replies)
				}
			}
			sent := runFlood(t, ns, flood.Config{IPv6: ipv6, Count: count, Size: size, Flows: flows, Window: 32})
			stop()
			c, err := rules.Counters()
			if err != nil {
				t.Fatal(err)
			}
			s := q.Stats()
			if backend == ConnMark {
				c.Queued.Packets -= flows
				s.Received -= flows
			}
			if sent.Replies != count || c.Accepted.Packets+s.Received != count || c.Queued.Packets != s.Received {
				t.Errorf("sent %d, answered %d, %+v, received %d", sent.Sent, sent.Replies, c, s.Received)
			}
			if c.Accepted.Bytes != c.Accepted.Packets*size || s.Received > count/2 {
				t.Errorf("%+v, received %d", c, s.Received)
			}
			if backend != EBPF {
				continue
			}
			var packets, bytes uint64
			entries := 0
			err = b.Table().Iterate(func(f ipq.Flow, e Entry) bool {
				if !e.Live || e.Verdict != ipq.Accept || f.SrcPort != f.DstPort || f.SrcPort >= flows {
					t.Errorf("%v: %+v", f, e)
				}
				entries++
				packets += e.Packets
				bytes += e.Bytes
				return true
			})
			// A flow of which several packets were queued was settled as often,
			// and counts from the last.
			if err != nil || entries != flows || packets > c.Accepted.Packets || bytes != packets*size {
				t.Errorf("%v: %d entries with %d packets, %d bytes; %+v", err, entries, packets, bytes, c)
			}
			if s.Received == flows && packets != c.Accepted.Packets {
				t.Errorf("entries have %d packets, the sums %d", packets, c.Accepted.Packets)
			}
		}
	})
}

// A flow that is unsettled is queued again; one that is not settled is no error.
func TestUnsettle(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend Backend) {
		ns := labtest.New(t)
		b := newBypasser(t, ns, Config{Backend: backend})
		install(t, b, Rules{Hook: ipq.Input, Match: udp})
		p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
		q, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
			if backend == EBPF {
				if err := b.Table().Insert(p.Flow(), ipq.Accept, Limits{}); err != nil {
					t.Error(err)
				}
			}
			for range 2 {
				if err := p.Unsettle(); err != nil {
					t.Error(err)
				}
			}
			return ipq.Accept
		}))
		for range 5 {
			send(t, p.a, p.b, "text")
			receive(t, p.b)
		}
		stop()
		if s := q.Stats(); s.Received != 5 {
			t.Errorf("%d of 5 packets were queued", s.Received)
		}
	})
}
