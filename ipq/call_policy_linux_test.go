package ipq_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/ipqtest"
)

// Each packet that no handler decides, or not in time, gets what its policy says: by
// FailOpen where it was left alone, and what was set where it was.
func TestExceptionPolicies(t *testing.T) {
	t.Parallel()
	const own = 0x1d // the mark of a policy that was set
	for cause, x := range map[string]struct {
		set     func(*ipq.Config, ipq.ExceptionPolicy)
		handler func(p *ipq.Packet, release <-chan struct{}) ipq.Verdict // nil: none
		options []ipqtest.Option
		count   func(*ipq.Causes) uint64
	}{
		"panic": {
			set:     func(c *ipq.Config, p ipq.ExceptionPolicy) { c.OnPanic = p },
			handler: func(*ipq.Packet, <-chan struct{}) ipq.Verdict { panic("on purpose") },
			count:   func(c *ipq.Causes) uint64 { return c.Panic },
		},
		"runtime.Goexit": {
			set:     func(c *ipq.Config, p ipq.ExceptionPolicy) { c.OnPanic = p },
			handler: func(*ipq.Packet, <-chan struct{}) ipq.Verdict { runtime.Goexit(); return ipq.Stop },
			count:   func(c *ipq.Causes) uint64 { return c.Panic },
		},
		"time-out": {
			set: func(c *ipq.Config, p ipq.ExceptionPolicy) { c.OnTimeout, c.HandlerTimeout = p, time.Millisecond },
			handler: func(_ *ipq.Packet, release <-chan struct{}) ipq.Verdict {
				<-release
				return ipq.Stop
			},
			count: func(c *ipq.Causes) uint64 { return c.Timeout },
		},
		"no handler yet": {
			set:   func(c *ipq.Config, p ipq.ExceptionPolicy) { c.BeforeHandler = p },
			count: func(c *ipq.Causes) uint64 { return c.NoHandler },
		},
		"a message that cannot be decoded": {
			handler: func(*ipq.Packet, <-chan struct{}) ipq.Verdict { return ipq.Stop },
			options: []ipqtest.Option{ipqtest.Attribute(5, []byte{1, 2})}, // NFQA_IFINDEX_INDEV has four bytes
			count:   func(c *ipq.Causes) uint64 { return c.Undecodable },
		},
	} {
		for _, policy := range []struct {
			name string
			open bool
			p    ipq.ExceptionPolicy
			want ipq.Verdict
		}{
			{"closed", false, ipq.ExceptionPolicy{}, ipq.Drop},
			{"open", true, ipq.ExceptionPolicy{}, ipq.Accept},
			{"closed, but set", false, ipq.Always(ipq.Accept.WithMark(own)), ipq.Accept.WithMark(own)},
			{"open, but set", true, ipq.Always(ipq.Drop), ipq.Drop},
		} {
			if x.set == nil && policy.p != (ipq.ExceptionPolicy{}) {
				continue // it has no knob but FailOpen
			}
			for _, workers := range []int{ipq.Inline, 2} {
				cfg := ipq.Config{Workers: workers, FailOpen: policy.open}
				if x.set != nil {
					x.set(&cfg, policy.p)
				}
				q := ipqtest.New(t, cfg)
				release := make(chan struct{})
				if x.handler == nil {
					q.Run(nil)
				} else {
					q.Run(ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict { return x.handler(p, release) }))
				}
				r := q.Send(make([]byte, 20), x.options...)
				close(release)
				s := q.Stop()
				by := &s.DroppedBy
				if policy.want != ipq.Drop {
					by = &s.PassedBy
				}
				if r.Verdict != policy.want || x.count(by) != 1 {
					t.Errorf("%s, %s, %d workers: %v, want %v; counted %+v", cause, policy.name, workers, r.Verdict, policy.want, *by)
				}
			}
		}
	}
}
