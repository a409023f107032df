package ipq

import (
	"fmt"
	"testing"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// modes are the ways that handlers run in.
var modes = []struct {
	name    string
	workers int
}{{"inline", Inline}, {"pool", 2}}

// Every packet gets exactly one verdict, by the count of the sender, of the
// kernel and of the engine.
func TestEveryPacketGetsOneVerdict(t *testing.T) {
	count := fewer(200_000)
	for _, mode := range modes {
		for _, ipv6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/ipv6=%v", mode.name, ipv6), func(t *testing.T) {
				ns := labtest.New(t)
				rules := echoRules(t, ns, 7, 1)
				after, err := ns.InstallCounter(netlab.Postrouting, 0, netlab.Match{EchoRequest: true})
				if err != nil {
					t.Fatal(err)
				}
				q, stop := serve(t, Config{Queue: 7, NetNS: ns.FD(), Workers: mode.workers}, HandlerFunc(func(p *Packet) Verdict {
					return Accept
				}))
				sent := runFlood(t, ns, flood.Config{IPv6: ipv6, Count: count, Window: 64})
				if err := stop(); err != nil {
					t.Fatal(err)
				}

				if sent.Sent != count || sent.Replies != count || sent.Lost+sent.Late+sent.Duplicates+sent.Dropped != 0 {
					t.Errorf("sender: %+v", sent)
				}
				for _, k := range []struct {
					what  string
					rules *netlab.Ruleset
				}{{"queueing", rules}, {"later", after}} {
					c, err := k.rules.Counters()
					if err != nil {
						t.Fatal(err)
					}
					if len(c) != 1 || c[0].Packets != count {
						t.Errorf("kernel's count in the %s chain: %+v, want %d packets", k.what, c, count)
					}
				}
				s := q.Stats()
				if s.Received != count || s.Verdicts != count || s.Accepted != count {
					t.Errorf("engine: received %d, verdicts %d, accepted %d, want %d each", s.Received, s.Verdicts, s.Accepted, count)
				}
				if s.KernelKnown && (s.Sequence != count || s.Waiting != 0 || s.QueueDropped+s.SocketDropped != 0) {
					t.Errorf("kernel's queue: %+v", s)
				}
				if s.UnknownVerdicts+s.RefusedVerdicts+s.InvalidVerdicts+s.Undecodable+s.WriteRetries != 0 {
					t.Errorf("engine met trouble: %+v", s)
				}
			})
		}
	}
}
