package ipqprom

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/goipq/goipq/ipq/stream"
)

// Stream adds what an engine of package ipq/stream has counted:
//
//	ipq_stream_connections                      connections that are kept now
//	ipq_stream_memory_bytes                     bytes that are remembered now
//	ipq_stream_connections_opened_total         connections that were established
//	ipq_stream_connections_closed_total{reason} those that are inspected no more: finished,
//	                                            aborted, idle, passed, dropped, limited,
//	                                            evicted, reused, shutdown
//	ipq_stream_connections_evicted_total        those that others have taken the place of
//	ipq_stream_inspected_bytes_total            bytes that were inspected
//	ipq_stream_segments_total{kind}             segments: inspected, early, retransmitted,
//	                                            changed, uninspected
//	ipq_stream_drops_total{reason}              packets that the engine has dropped, by
//	                                            [stream.Cause]: conflict, ahead, verdict, …
//
// The metrics have no label queue, because an engine may serve several. A segment may be
// of several kinds, or of none.
func Stream(e *stream.Engine) Option {
	return func(c *Collector) { c.stream = e }
}

var (
	streamConns   = prometheus.NewDesc("ipq_stream_connections", "TCP connections that are kept now.", nil, nil)
	streamMemory  = prometheus.NewDesc("ipq_stream_memory_bytes", "Bytes of connections that are remembered now.", nil, nil)
	streamOpened  = prometheus.NewDesc("ipq_stream_connections_opened_total", "TCP connections that were established.", nil, nil)
	streamClosed  = prometheus.NewDesc("ipq_stream_connections_closed_total", "TCP connections that are inspected no more.", []string{"reason"}, nil)
	streamEvicted = prometheus.NewDesc("ipq_stream_connections_evicted_total", "TCP connections that others have taken the place of.", nil, nil)
	streamBytes   = prometheus.NewDesc("ipq_stream_inspected_bytes_total", "Bytes of TCP connections that were inspected.", nil, nil)
	streamKinds   = prometheus.NewDesc("ipq_stream_segments_total", "TCP segments by what they were.", []string{"kind"}, nil)
	streamDrops   = prometheus.NewDesc("ipq_stream_drops_total", "Packets that the engine of streams has dropped.", []string{"reason"}, nil)
)

func (c *Collector) describeStream(to chan<- *prometheus.Desc) {
	if c.stream == nil {
		return
	}
	for _, d := range []*prometheus.Desc{streamConns, streamMemory, streamOpened, streamClosed, streamEvicted, streamBytes, streamKinds, streamDrops} {
		to <- d
	}
}

func (c *Collector) collectStream(to chan<- prometheus.Metric) {
	if c.stream == nil {
		return
	}
	s := c.stream.Stats()
	gauge := func(d *prometheus.Desc, n uint64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(streamConns, s.Open)
	gauge(streamMemory, s.Memory)
	count(streamOpened, s.Opened)
	count(streamEvicted, s.Evicted)
	count(streamBytes, s.Bytes)
	count(streamKinds, s.Segments, "inspected")
	count(streamKinds, s.Early, "early")
	count(streamKinds, s.Retransmitted, "retransmitted")
	count(streamKinds, s.Changed, "changed")
	count(streamKinds, s.Uninspected, "uninspected")
	for i, n := range s.Closed {
		count(streamClosed, n, label(stream.Reason(i).String()))
	}
	for i, n := range s.Dropped {
		count(streamDrops, n, label(stream.Cause(i).String()))
	}
}

// label returns a name in the form that values of labels have.
func label(name string) string { return strings.ReplaceAll(name, " ", "_") }
