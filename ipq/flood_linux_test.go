package ipq

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// A second queue at the next hook sees each flow's packets in the order in
// which they were sent, whatever the handlers of the first take. (Replies prove
// less: loopback itself may reorder what different CPUs hand to it.)
func TestKernelKeepsFlowsInOrder(t *testing.T) {
	const count = 20_000
	ns := labtest.New(t)
	ping := netlab.Match{EchoRequest: true}
	_, err := ns.InstallQueue(
		netlab.Rule{Hook: netlab.Output, Queue: fakeNumber, Match: ping},
		netlab.Rule{Hook: netlab.Postrouting, Queue: fakeNumber + 1, Match: ping},
	)
	if err != nil {
		t.Fatal(err)
	}
	last := map[Flow]uint64{}
	later, stopLater := serve(t, Config{Queue: fakeNumber + 1, NetNS: ns.FD(), Workers: Inline}, HandlerFunc(func(p *Packet) Verdict {
		const headers = 20 + 8 // of IPv4 and ICMP; then the flood's number, 48 bits of it
		n := binary.BigEndian.Uint64(p.Payload()[headers:]) & (1<<48 - 1)
		if before, ok := last[p.Flow()]; ok && n <= before {
			t.Errorf("%v: request %d comes behind %d", p.Flow(), n, before)
		}
		last[p.Flow()] = n
		return Accept
	}))
	q, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: 4}, HandlerFunc(func(p *Packet) Verdict {
		if h := p.ID() * 2654435761 >> 24; h < 8 { // one in 32, scattered
			time.Sleep(time.Duration(h) * 50 * time.Microsecond)
		}
		return Accept
	}))
	const flows = 37
	s := runFlood(t, ns, flood.Config{Count: count, Window: 256, Flows: flows})
	if err := errors.Join(stop(), stopLater()); err != nil {
		t.Fatal(err)
	}
	if s.Replies != count || s.Lost+s.Duplicates+s.Late != 0 {
		t.Errorf("flood: %+v", s)
	}
	if a, b := q.Stats().Verdicts, later.Stats().Verdicts; a != count || b != count || len(last) != flows {
		t.Errorf("%d and %d verdicts on %d flows", a, b, len(last))
	}
}

// The real ping loses nothing. It goes on until it has its answers (-w), so that
// a busy machine, which is late, has it send more.
func TestKernelPing(t *testing.T) {
	ping := labtest.Program(t, "ping") // Debian's iputils-ping
	const requests = 100
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		echoRules(t, ns, fakeNumber, 1)
		arrived, err := ns.InstallCounter(netlab.Input, 0, netlab.Match{EchoRequest: true})
		if err != nil {
			t.Fatal(err)
		}
		q, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers}, accept)
		for _, to := range []string{"127.0.0.1", "::1"} {
			var out []byte
			err := ns.Do(func() (err error) {
				out, err = exec.Command(ping, "-n", "-c", strconv.Itoa(requests), "-i", "0.002", "-w", "60", to).CombinedOutput()
				return err
			})
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for seq := 1; seq <= requests; seq++ {
				if n := strings.Count(string(out), fmt.Sprintf(" icmp_seq=%d ", seq)); n != 1 {
					t.Errorf("request %d was answered %d times\n%s", seq, n, out)
				}
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		s := q.Stats()
		if s.Accepted < 2*requests || s.Accepted != s.Received {
			t.Errorf("stats: %+v", s)
		}
		if c, err := arrived.Counters(); err != nil || c[0].Packets != s.Accepted {
			t.Errorf("%+v arrived, %v; want %d", c, err, s.Accepted)
		}
	})
}
