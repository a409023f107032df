package ipqprom

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// BypassCounters are those of package ipq/bypass, which a program without a bypass need
// not link: a bypass.Counters can be converted to it.
type BypassCounters struct {
	AcceptedPackets, AcceptedBytes      uint64
	DroppedPackets, DroppedBytes        uint64
	Expired, Spent, Reopened, Suspended uint64
}

// Bypass adds what the kernel has decided by a bypass's table, so that no queue has seen
// it. count is called for each scrape:
//
//	ipqprom.Bypass(func() (ipqprom.BypassCounters, error) {
//		c, err := bypasser.Table().Counters()
//		return ipqprom.BypassCounters(c), err
//	})
//
// The metrics have no label queue, because a table is none's:
//
//	ipq_bypass_packets_total{verdict}   packets decided: accept, drop
//	ipq_bypass_bytes_total{verdict}     their bytes, from the IP header on
//	ipq_bypass_requeued_total{reason}   packets of settled flows that were queued again:
//	                                    expired, spent, reopened, suspended
//
// They are left out while count returns an error that matches [errors.ErrUnsupported],
// as it does where connection marks take the table's place. Another error fails the
// scrape.
func Bypass(count func() (BypassCounters, error)) Option {
	return func(c *Collector) { c.bypass = count }
}

var (
	bypassPackets  = prometheus.NewDesc("ipq_bypass_packets_total", "Packets of settled flows, decided by the kernel.", []string{"verdict"}, nil)
	bypassBytes    = prometheus.NewDesc("ipq_bypass_bytes_total", "Bytes of packets of settled flows, from the IP header on.", []string{"verdict"}, nil)
	bypassRequeued = prometheus.NewDesc("ipq_bypass_requeued_total", "Packets of settled flows that were queued all the same.", []string{"reason"}, nil)
)

func (c *Collector) describeBypass(to chan<- *prometheus.Desc) {
	if c.bypass != nil {
		to <- bypassPackets
		to <- bypassBytes
		to <- bypassRequeued
	}
}

func (c *Collector) collectBypass(to chan<- prometheus.Metric) {
	if c.bypass == nil {
		return
	}
	n, err := c.bypass()
	if err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			to <- prometheus.NewInvalidMetric(bypassPackets, err)
		}
		return
	}
	for _, s := range []struct {
		desc  *prometheus.Desc
		value uint64
		label string
	}{
		{bypassPackets, n.AcceptedPackets, "accept"},
		{bypassPackets, n.DroppedPackets, "drop"},
		{bypassBytes, n.AcceptedBytes, "accept"},
		{bypassBytes, n.DroppedBytes, "drop"},
		{bypassRequeued, n.Expired, "expired"},
		{bypassRequeued, n.Spent, "spent"},
		{bypassRequeued, n.Reopened, "reopened"},
		{bypassRequeued, n.Suspended, "suspended"},
	} {
		to <- prometheus.MustNewConstMetric(s.desc, prometheus.CounterValue, float64(s.value), s.label)
	}
}
