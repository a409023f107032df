// Package metrics has what the queues of package ipq count, under the names by which
// Prometheus knows it. Both ways out read it: the collector of ipq/ipqprom, and
// WriteText, for commands that are to depend on no client library.
//
// ipq/ipqprom is a module of its own, and may be of another version than this one: what
// is exported here is added to, and not changed.
package metrics

import (
	"runtime/debug"

	"github.com/goipq/goipq/ipq"
)

// A Source is what has numbers: an *ipq.Queue.
type Source interface {
	Stats() ipq.Stats
	Histograms() []ipq.QueueHistograms
	Config() ipq.Config
}

// A Kind is what Prometheus calls the type of a metric.
type Kind string

// The kinds of metrics.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// A Family is a metric, with a sample for each value of its labels.
type Family struct {
	Name, Help string
	Kind       Kind
	Labels     []string // names; the first is "queue"

	each func(q *queue, emit emitter)
}

// A Sample is one value of a Family. It, and its slices, are valid only during the call
// that they are given to.
type Sample struct {
	Family *Family
	Labels []string // values
	Value  float64  // of a counter or gauge

	// Of a histogram: how many values, what they come to, and how many of them were
	// less than or equal to each bound.
	Count   uint64
	Sum     float64
	Bounds  []float64
	Buckets []uint64
}

// A queue is what is known of a kernel queue at one moment.
type queue struct {
	counts ipq.Counts
	times  *ipq.QueueHistograms // nil: they are not measured
	cfg    *ipq.Config
}

// An emitter takes a sample of the family and the queue at hand: its value, and those of
// the labels behind the queue.
type emitter interface {
	value(v float64, labels ...string)
	histogram(count uint64, sum float64, bounds []float64, buckets []uint64)
}

// Families are all metrics, in the order in which Each gives their samples.
func Families() []*Family { return families }

// Each reads the numbers of all sources, of each once, and calls f with every sample,
// those of a family one after the other.
func Each(sources []Source, f func(*Sample)) {
	var queues []queue
	var names []string
	for _, src := range sources {
		stats, times, cfg := src.Stats(), src.Histograms(), src.Config()
		for i := range stats.Queues {
			q := queue{counts: stats.Queues[i].Counts, cfg: &cfg}
			if times != nil {
				q.times = &times[i]
			}
			queues, names = append(queues, q), append(names, number(stats.Queues[i].Queue))
		}
	}
	e := emission{take: f, sample: Sample{Labels: make([]string, 0, 3)}}
	for _, e.sample.Family = range families {
		for i := range queues {
			e.sample.Labels = append(e.sample.Labels[:0], names[i])
			e.sample.Family.each(&queues[i], &e)
		}
	}
}

// An emission is the emitter of Each.
type emission struct {
	take   func(*Sample)
	sample Sample
}

func (e *emission) value(v float64, labels ...string) {
	e.sample.Labels, e.sample.Value = append(e.sample.Labels[:1], labels...), v
	e.take(&e.sample)
}

func (e *emission) histogram(count uint64, sum float64, bounds []float64, buckets []uint64) {
	e.sample.Count, e.sample.Sum, e.sample.Bounds, e.sample.Buckets = count, sum, bounds, buckets
	e.take(&e.sample)
}

// module is what versions of goipq are those of.
const module = "github.com/goipq/goipq"

// version is that of goipq in this program, as far as the build knows it.
var version = func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module {
			return m.Version
		}
	}
	return "unknown"
}()
