package ipqprom_test

import (
	"bytes"
	"maps"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/goipq/goipq/internal/metrics"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/ipqprom"
	"github.com/goipq/goipq/ipq/ipqtest"
)

// packet is a UDP packet to port 9, whose checksum says that there is none.
var packet = []byte{
	0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0xf6, 0xce, 192, 0, 2, 1, 192, 0, 2, 2,
	4, 0, 0, 9, 0, 8, 0, 0,
}

// registry returns one that has a collector.
func registry(t testing.TB, c prometheus.Collector) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	return r
}

// values returns what a registry gathers: each sample by its name and labels, of
// histograms the count.
func values(t testing.TB, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Error(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			all[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.Counter.GetValue() + m.Gauge.GetValue() + float64(m.Histogram.GetSampleCount())
		}
	}
	return all
}

// expect fails the test if samples are not as they should be.
func expect(t *testing.T, got map[string]float64, want map[string]float64) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if v, ok := got[name]; !ok || v != want[name] {
			t.Errorf("%s is %v (there: %v), want %v", name, v, ok, want[name])
		}
	}
}

func accept(*ipq.Packet) ipq.Verdict { return ipq.Accept }

// A stage is where the handlers of TestCauses play.
type stage struct {
	q       *ipqtest.Queue
	decided chan struct{} // closed when the packets have their verdicts
}

// Each cause of a drop is shown as such, once. Those that ipqtest cannot bring about are
// in the test of internal/metrics.
func TestCauses(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct {
		cfg     ipq.Config
		handle  func(*stage, *ipq.Packet) ipq.Verdict // nil: there is no handler
		packets int                                   // 0: one
		options []ipqtest.Option
		refused bool               // the next verdict is
		also    map[string]float64 // what else is counted
	}{
		"handler":    {handle: func(*stage, *ipq.Packet) ipq.Verdict { return ipq.Drop }},
		"no_handler": {},
		"invalid": {
			handle: func(*stage, *ipq.Packet) ipq.Verdict { return ipq.Verdict(77) },
			also:   map[string]float64{"ipq_invalid_verdicts_total{queue=7}": 1},
		},
		"panic": {
			handle: func(*stage, *ipq.Packet) ipq.Verdict { panic("on purpose") },
			also:   map[string]float64{"ipq_handler_panics_total{queue=7}": 1},
		},
		"timeout": {
			cfg:    ipq.Config{HandlerTimeout: time.Millisecond},
			handle: func(s *stage, _ *ipq.Packet) ipq.Verdict { <-s.decided; return ipq.Accept },
			also:   map[string]float64{"ipq_handler_timeouts_total{queue=7}": 1},
		},
		"deferral": {
			cfg:    ipq.Config{DeferTimeout: time.Millisecond},
			handle: func(_ *stage, p *ipq.Packet) ipq.Verdict { return deferring(p) },
			also:   map[string]float64{"ipq_deferrals_total{queue=7}": 1, "ipq_deferrals_expired_total{queue=7}": 1},
		},
		"end": {
			handle: func(s *stage, p *ipq.Packet) ipq.Verdict {
				defer s.q.Close() // does not wait, in a handler
				return deferring(p)
			},
			also: map[string]float64{"ipq_deferrals_expired_total{queue=7}": 1},
		},
		"overload": {
			cfg: ipq.Config{Overload: ipq.DropExcess, Workers: 1, Batches: 1, BatchSize: 1},
			handle: func(s *stage, _ *ipq.Packet) ipq.Verdict {
				for s.q.Stats().ExcessDropped == 0 {
					runtime.Gosched()
				}
				return ipq.Accept
			},
			packets: 2,
			also:    map[string]float64{"ipq_excess_total{action=drop,queue=7}": 1, "ipq_verdicts_total{queue=7,verdict=accept}": 1},
		},
		"undecodable": {
			handle:  func(*stage, *ipq.Packet) ipq.Verdict { return ipq.Accept },
			options: []ipqtest.Option{ipqtest.Attribute(3, []byte{1})}, // NFQA_MARK has four bytes
			also:    map[string]float64{"ipq_packets_undecodable_total{queue=7}": 1},
		},
		"refused": {
			handle:  func(*stage, *ipq.Packet) ipq.Verdict { return ipq.Accept },
			refused: true,
			also:    map[string]float64{"ipq_refused_verdicts_total{queue=7}": 1},
		},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			cfg := c.cfg
			cfg.Queue, cfg.Histograms = 7, true
			if cfg.Workers == 0 {
				cfg.Workers = ipq.Inline
			}
			s := &stage{ipqtest.New(t, cfg), make(chan struct{})}
			r := registry(t, ipqprom.NewCollector(s.q.Queue))
			if c.handle != nil {
				s.q.Run(ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict { return c.handle(s, p) }))
			} else {
				s.q.Run(nil)
			}
			if c.refused {
				s.q.Fault(ipqtest.Refusal)
			}
			s.q.SendAll(slices.Repeat([][]byte{packet}, max(c.packets, 1)), c.options...)
			close(s.decided)
			stats := s.q.Stop()

			got := values(t, r)
			expect(t, got, c.also)
			for name, v := range got {
				if strings.HasPrefix(name, "ipq_drops_total{") && (v == 1) != (name == "ipq_drops_total{queue=7,reason="+reason+"}") {
					t.Errorf("%s is %v", name, v)
				}
			}
			dropped := stats.Dropped
			if c.refused {
				dropped++ // it was counted as the verdict that was refused
			}
			if dropped != 1 {
				t.Errorf("%d packets were dropped", dropped)
			}
			expect(t, got, map[string]float64{
				"ipq_packets_received_total{queue=7}":  float64(stats.Received),
				"ipq_verdict_latency_seconds{queue=7}": float64(stats.Verdicts),
				"ipq_batch_packets{queue=7}":           float64(stats.Batches),
			})
		})
	}
}

func deferring(p *ipq.Packet) ipq.Verdict {
	if _, err := p.Defer(); err != nil {
		panic(err)
	}
	return ipq.Drop
}

// With FailOpen packets pass by the same causes.
func TestPassed(t *testing.T) {
	t.Parallel()
	q := ipqtest.New(t, ipq.Config{Queue: 7, Workers: ipq.Inline, FailOpen: true})
	q.Run(nil)
	q.Send(packet)
	if err := q.SetHandler(ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { panic("on purpose") })); err != nil {
		t.Fatal(err)
	}
	q.Send(packet)
	q.Send(packet, ipqtest.Attribute(3, []byte{1}))
	q.Stop()
	got := values(t, registry(t, ipqprom.NewCollector(q.Queue)))
	for name, v := range got {
		if strings.HasPrefix(name, "ipq_drops_total{") && v != 0 {
			t.Errorf("%s is %v", name, v)
		}
	}
	expect(t, got, map[string]float64{
		"ipq_passed_total{queue=7,reason=no_handler}":  1,
		"ipq_passed_total{queue=7,reason=panic}":       1,
		"ipq_passed_total{queue=7,reason=undecodable}": 1,
		"ipq_passed_total{queue=7,reason=timeout}":     0,
		"ipq_verdicts_total{queue=7,verdict=accept}":   3,
	})
}

// Several queues are told apart by their numbers, and packets that are deferred now
// are shown.
func TestSeveralQueues(t *testing.T) {
	t.Parallel()
	a := ipqtest.New(t, ipq.Config{Queue: 3, Workers: ipq.Inline, Histograms: true, DeferTimeout: time.Hour})
	b := ipqtest.New(t, ipq.Config{Queue: 7, Workers: 2, MaxQueueLen: 99})
	r := registry(t, ipqprom.NewCollector(a.Queue, ipqprom.Others(b.Queue)))
	during := make(chan map[string]float64, 1)
	a.Run(ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		d, err := p.Defer()
		if err != nil {
			t.Error(err)
			return ipq.Drop
		}
		during <- values(t, r)
		go func() {
			if err := d.Verdict(ipq.Accept); err != nil {
				t.Error(err)
			}
		}()
		return ipq.Drop
	}))
	b.Run(ipq.HandlerFunc(accept))
	b.SendAll(slices.Repeat([][]byte{packet}, 500))
	a.Send(packet)
	expect(t, <-during, map[string]float64{"ipq_deferred{queue=3}": 1, "ipq_deferred{queue=7}": 0})
	a.Stop()
	b.Stop()
	got := values(t, r)
	expect(t, got, map[string]float64{
		"ipq_packets_received_total{queue=3}":   1,
		"ipq_packets_received_total{queue=7}":   500,
		"ipq_handler_duration_seconds{queue=3}": 1,
		"ipq_deferred{queue=3}":                 0,
		"ipq_queue_length_limit{queue=7}":       99,
	})
	if _, ok := got["ipq_handler_duration_seconds{queue=7}"]; ok {
		t.Error("there is a histogram that nobody asked for")
	}
	var modes []string
	for name := range got {
		if strings.HasPrefix(name, "ipq_info{") {
			modes = append(modes, name[:strings.Index(name, ",version=")])
		}
	}
	slices.Sort(modes)
	if !slices.Equal(modes, []string{"ipq_info{mode=inline,queue=3", "ipq_info{mode=pool,queue=7"}) {
		t.Errorf("%q", modes)
	}
}

// Names, types and help texts are as Prometheus wants them.
func TestLint(t *testing.T) {
	t.Parallel()
	q := ipqtest.New(t, ipq.Config{Histograms: true})
	q.Run(ipq.HandlerFunc(accept))
	q.Send(packet)
	problems, err := testutil.GatherAndLint(registry(t, ipqprom.NewCollector(q.Queue)))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := metrics.WriteText(&text, []metrics.Source{told{q.Queue}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "\nipq_queue_length{") {
		t.Error("the text lacks what the kernel tells")
	}
	more, err := promlint.New(&text).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(problems, more...) {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// told is a queue of which the kernel's table tells.
type told struct{ *ipq.Queue }

func (q told) Stats() ipq.Stats {
	s := q.Queue.Stats()
	s.Queues[0].KernelKnown = true
	return s
}

// The text that commands write without a client library says the same.
func TestText(t *testing.T) {
	t.Parallel()
	q := ipqtest.New(t, ipq.Config{Histograms: true})
	q.Run(ipq.HandlerFunc(accept))
	q.SendAll(slices.Repeat([][]byte{packet}, 1000))
	q.Stop()
	var text bytes.Buffer
	if err := metrics.WriteText(&text, []metrics.Source{q.Queue}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "\n"); n < 150 {
		t.Fatalf("%d lines:\n%s", n, text.String())
	}
	if err := testutil.GatherAndCompare(registry(t, ipqprom.NewCollector(q.Queue)), &text); err != nil {
		t.Error(err)
	}
}

// BenchmarkScrape is what a scrape of a queue costs: the collector's part, and with that
// of the registry. cpu-ns/op is this process's CPU time, which others do not disturb.
func BenchmarkScrape(b *testing.B) {
	for _, name := range []string{"collect", "gather"} {
		b.Run("what="+name, func(b *testing.B) {
			q := ipqtest.New(b, ipq.Config{Histograms: true, Workers: 2})
			q.Run(ipq.HandlerFunc(accept))
			q.SendAll(slices.Repeat([][]byte{packet}, 1000))
			c := ipqprom.NewCollector(q.Queue)
			r := prometheus.NewRegistry()
			r.MustRegister(c)
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				if name == "gather" {
					if _, err := r.Gather(); err != nil {
						b.Fatal(err)
					}
					continue
				}
				to := make(chan prometheus.Metric, 1000)
				c.Collect(to)
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpu returns the CPU time of this process, in nanoseconds.
func cpu(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
