package bypass

import (
	"errors"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
	"golang.org/x/sys/unix"
)

// settling tells what each of its calls returned.
type settling struct {
	*Bypasser
	errs chan error
}

func (s settling) Bypass(p *ipq.Packet, v ipq.Verdict) (ipq.Verdict, error) {
	w, err := s.Bypasser.Bypass(p, v)
	s.errs <- err
	return w, err
}

// Where no rules act on what is settled, it says so and nothing is settled:
// otherwise the wish would be lost without a word, or, with connection marks, a
// drop would be an accept.
func TestSettlingNeedsRulesAtTheHook(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend Backend) {
		ns := labtest.New(t)
		b := newBypasser(t, ns, Config{Backend: backend})
		// Somebody else's rule leads to the queue.
		if _, err := ns.InstallQueue(netlab.Rule{Hook: netlab.Output, Queue: queueNumber, Match: netlab.Match{L4Proto: unix.IPPROTO_UDP}}); err != nil {
			t.Fatal(err)
		}
		delivered, err := ns.InstallCounter(netlab.Input, 0, netlab.Match{L4Proto: unix.IPPROTO_UDP})
		if err != nil {
			t.Fatal(err)
		}
		p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
		drop := func(want error) {
			t.Helper()
			s := settling{b, make(chan error, 1)}
			_, stop := serve(t, ns, nil, ipq.Config{Bypass: s}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
				if err := p.Unsettle(); err != nil || want != nil && p.Mark() != 0 { // which no rule would take off
					t.Errorf("Unsettle: %v, mark %#x", err, p.Mark())
				}
				return ipq.Drop.Bypass()
			}))
			send(t, p.a, p.b, "to be dropped")
			if err := <-s.errs; !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%v, want %v", err, want)
			}
			stop()
			if c, err := delivered.Counters(); err != nil || c[0].Packets != 0 {
				t.Errorf("delivered %+v, %v", c, err)
			}
		}
		drop(ErrNoRules)
		tcp := []Match{{Protocol: unix.IPPROTO_TCP}}
		elsewhere := install(t, b, Rules{Table: "elsewhere", Hook: ipq.Forward, Match: tcp})
		drop(ErrNoRules)
		removeElsewhere := func() {
			if err := elsewhere.Remove(); err != nil {
				t.Error(err)
			}
		}
		if backend == NFTSet { // which has one ruleset at a time
			removeElsewhere()
		}
		here := install(t, b, Rules{Hook: ipq.Output, Priority: 10, Match: tcp})
		drop(nil)
		for range 2 { // the second time there is nothing to remove
			err = here.Remove()
		}
		if !errors.Is(err, unix.ENOENT) {
			t.Error(err)
		}
		drop(ErrNoRules)
		if backend != NFTSet {
			removeElsewhere()
		}
	})
}
