package ipq

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// Replies come back in the order of the requests of their flow, whatever their
// handlers take: so the kernel re-injected them in order.
func TestKernelKeepsFlowsInOrder(t *testing.T) {
	const count = 20_000
	ns := labtest.New(t)
	echoRules(t, ns, fakeNumber, 1)
	q, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: 4}, HandlerFunc(func(p *Packet) Verdict {
		if h := p.ID() * 2654435761 >> 24; h < 8 { // one in 32, scattered
			time.Sleep(time.Duration(h) * 50 * time.Microsecond)
		}
		return Accept
	}))
	s := runFlood(t, ns, flood.Config{Count: count, Window: 256, Flows: 37})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if s.Replies != count || s.OutOfOrder != 0 || s.Lost+s.Duplicates+s.Late != 0 {
		t.Errorf("flood: %+v", s)
	}
	if st := q.Stats(); st.Verdicts != count {
		t.Errorf("stats: %+v", st)
	}
}

// The real ping loses nothing.
func TestKernelPing(t *testing.T) {
	ping := labtest.Program(t, "ping") // Debian's iputils-ping
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		echoRules(t, ns, fakeNumber, 1)
		q, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers}, accept)
		for _, to := range []string{"127.0.0.1", "::1"} {
			var out []byte
			err := ns.Do(func() (err error) {
				out, err = exec.Command(ping, "-n", "-q", "-c", "100", "-i", "0.002", to).CombinedOutput()
				return err
			})
			if err != nil || !strings.Contains(string(out), " 100 received, 0% packet loss") {
				t.Errorf("%v\n%s", err, out)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if s := q.Stats(); s.Accepted != 200 {
			t.Errorf("stats: %+v", s)
		}
	})
}
