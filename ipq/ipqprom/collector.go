package ipqprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/goipq/goipq/internal/metrics"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/stream"
)

// A Collector is a [prometheus.Collector] of what queues count. It may be used by any
// number of scrapes at a time.
type Collector struct {
	sources []metrics.Source
	bypass  func() (BypassCounters, error) // nil: there is none
	stream  *stream.Engine                 // nil: there is none
	descs   map[*metrics.Family]*prometheus.Desc
}

// An Option changes what NewCollector returns.
type Option func(*Collector)

// Others adds more queues, of other numbers.
func Others(queues ...*ipq.Queue) Option {
	return func(c *Collector) {
		for _, q := range queues {
			c.sources = append(c.sources, q)
		}
	}
}

// NewCollector returns a collector of what q counts, at any time of its life: before
// Run, and after Close.
func NewCollector(q *ipq.Queue, options ...Option) *Collector {
	c := &Collector{sources: []metrics.Source{q}, descs: map[*metrics.Family]*prometheus.Desc{}}
	for _, f := range metrics.Families() {
		c.descs[f] = prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
	}
	for _, o := range options {
		o(c)
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
	c.describeBypass(to)
	c.describeStream(to)
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	metrics.Each(c.sources, func(s *metrics.Sample) { to <- c.metric(s) })
	c.collectBypass(to)
	c.collectStream(to)
}

func (c *Collector) metric(s *metrics.Sample) prometheus.Metric {
	desc := c.descs[s.Family]
	switch s.Family.Kind {
	case metrics.Counter:
		return prometheus.MustNewConstMetric(desc, prometheus.CounterValue, s.Value, s.Labels...)
	case metrics.Histogram:
		buckets := make(map[float64]uint64, len(s.Bounds))
		for i, bound := range s.Bounds {
			buckets[bound] = s.Buckets[i]
		}
		return prometheus.MustNewConstHistogram(desc, s.Count, s.Sum, buckets, s.Labels...)
	}
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, s.Value, s.Labels...)
}
