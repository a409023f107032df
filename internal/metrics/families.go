package metrics

import (
	"strconv"
	"time"

	"github.com/goipq/goipq/ipq"
)

func number(queue uint16) string { return strconv.Itoa(int(queue)) }

// families are the metrics. The names are those of dashboards and alerts elsewhere.
var families = []*Family{
	info("ipq_info", "What serves the queue: the version of goipq, and inline or pool. Always 1."),

	counter("ipq_packets_received_total", "Packets read from the kernel.",
		func(c *ipq.Counts) uint64 { return c.Received }),
	by("verdict", "ipq_verdicts_total", "Verdicts written, by kind.", verdicts),
	by("reason", "ipq_drops_total", "Packets dropped by a verdict, by why. Those that were never received are in ipq_kernel_dropped_total.",
		causesOf(func(c *ipq.Counts) *ipq.Causes { return &c.DroppedBy }, causes)),
	by("reason", "ipq_passed_total", "Packets that passed without their handler having decided so, by why.",
		causesOf(func(c *ipq.Counts) *ipq.Causes { return &c.PassedBy }, append(causes[1:len(causes):len(causes)], socketFull))),
	by("reason", "ipq_kernel_dropped_total", "Packets dropped by the kernel because the queue, or its socket's receive buffer, was full.",
		causesOf(func(c *ipq.Counts) *ipq.Causes { return &c.DroppedBy }, []causeLabel{queueFull, socketFull})),

	known("ipq_queue_length", Gauge, "Packets that wait in the kernel for their verdict now.",
		func(c *ipq.Counts) uint64 { return c.Waiting }),
	known("ipq_kernel_queued_total", Counter, "Packets that the kernel has queued, by its own numbering.",
		func(c *ipq.Counts) uint64 { return c.Sequence }),
	gauge("ipq_queue_length_limit", "Packets that the kernel may hold (Config.MaxQueueLen).",
		func(q *queue) float64 { return float64(q.cfg.MaxQueueLen) }),
	gauge("ipq_receive_buffer_bytes", "Size of the socket's receive buffer, as granted.",
		func(q *queue) float64 { return float64(q.counts.ReadBuffer) }),

	by("action", "ipq_excess_total", "Packets decided by Config.Overload because the pool was saturated.", []label{
		{"accept", func(c *ipq.Counts) uint64 { return c.ExcessAccepted }},
		{"drop", func(c *ipq.Counts) uint64 { return c.ExcessDropped }},
	}),
	counter("ipq_overtook_total", "Packets accepted by Config.Overload that left earlier ones of their flow behind.",
		func(c *ipq.Counts) uint64 { return c.Overtook }),
	counter("ipq_handler_timeouts_total", "Packets decided because a handler did not return in time: its own, and those behind it.",
		func(c *ipq.Counts) uint64 { return c.TimedOut }),
	gauge("ipq_handlers_stuck", "Handlers that run past their time now.",
		func(q *queue) float64 { return float64(q.counts.Stuck) }),
	counter("ipq_handler_panics_total", "Handlers that panicked or called runtime.Goexit.",
		func(c *ipq.Counts) uint64 { return c.Panics }),
	counter("ipq_invalid_verdicts_total", "Verdicts that no kernel knows, and edits that changed what must stay; dropped.",
		func(c *ipq.Counts) uint64 { return c.InvalidVerdicts }),

	gauge("ipq_deferred", "Packets that are deferred now.",
		func(q *queue) float64 { return float64(q.counts.DeferredNow) }),
	counter("ipq_deferrals_total", "Packets that were deferred.",
		func(c *ipq.Counts) uint64 { return c.Deferred }),
	counter("ipq_deferrals_expired_total", "Deferred packets that nobody decided in time.",
		func(c *ipq.Counts) uint64 { return c.DeferExpired }),
	counter("ipq_deferrals_refused_total", "Packets that were not deferred because too many were.",
		func(c *ipq.Counts) uint64 { return c.DeferRefused }),

	by("outcome", "ipq_rejects_total", "Answers sent to packets that were rejected, one or two for each, and packets that got none, by why.", []label{
		{"reset", func(c *ipq.Counts) uint64 { return c.Rejects.Resets }},
		{"prohibited", func(c *ipq.Counts) uint64 { return c.Rejects.Prohibitions }},
		{"exempt", func(c *ipq.Counts) uint64 { return c.Rejects.Exempt }},
		{"damaged", func(c *ipq.Counts) uint64 { return c.Rejects.Damaged }},
		{"unknown", func(c *ipq.Counts) uint64 { return c.Rejects.Unknown }},
		{"limited", func(c *ipq.Counts) uint64 { return c.Rejects.Limited }},
		{"failed", func(c *ipq.Counts) uint64 { return c.Rejects.Failed }},
	}),

	counter("ipq_bypassed_flows_total", "Verdicts by which a flow was left to the kernel.",
		func(c *ipq.Counts) uint64 { return c.Bypassed }),
	counter("ipq_bypass_failures_total", "Verdicts with a bypass whose flow could not be left to the kernel.",
		func(c *ipq.Counts) uint64 { return c.BypassFailed }),

	counter("ipq_packets_modified_total", "Verdicts that carried a new payload.",
		func(c *ipq.Counts) uint64 { return c.Modified }),
	counter("ipq_packets_truncated_total", "Packets of which only a part was copied.",
		func(c *ipq.Counts) uint64 { return c.Truncated }),
	counter("ipq_packets_undecodable_total", "Messages of packets that could not be read.",
		func(c *ipq.Counts) uint64 { return c.Undecodable }),
	counter("ipq_packets_too_large_total", "Packets whose new payload the socket did not take.",
		func(c *ipq.Counts) uint64 { return c.TooLarge }),
	counter("ipq_orphans_total", "Packets of a process that was gone, decided by Queue.Inherit.",
		func(c *ipq.Counts) uint64 { return c.Orphans }),

	counter("ipq_refused_verdicts_total", "Verdicts that the kernel refused.",
		func(c *ipq.Counts) uint64 { return c.RefusedVerdicts }),
	counter("ipq_unknown_verdicts_total", "Verdicts on packets that the kernel had decided itself.",
		func(c *ipq.Counts) uint64 { return c.UnknownVerdicts }),
	counter("ipq_other_messages_total", "Messages from the kernel that are neither packets nor errors.",
		func(c *ipq.Counts) uint64 { return c.OtherMessages }),
	counter("ipq_socket_overruns_total", "Receive calls that found that the socket had overflowed.",
		func(c *ipq.Counts) uint64 { return c.Overruns }),
	by("call", "ipq_retries_total", "System calls repeated because the kernel was short of memory or buffer.", []label{
		{"receive", func(c *ipq.Counts) uint64 { return c.ReadRetries }},
		{"write", func(c *ipq.Counts) uint64 { return c.WriteRetries }},
	}),

	counter("ipq_verdict_messages_total", "Netlink messages that carried verdicts.",
		func(c *ipq.Counts) uint64 { return c.Messages }),
	counter("ipq_verdict_writes_total", "System calls that wrote verdicts.",
		func(c *ipq.Counts) uint64 { return c.Writes }),
	counter("ipq_receive_parks_total", "Times that a receive loop slept because its socket was empty.",
		func(c *ipq.Counts) uint64 { return c.Parks }),
	counter("ipq_receive_waits_total", "Times that a receive loop waited for a free batch of buffers.",
		func(c *ipq.Counts) uint64 { return c.Waits }),

	batches("ipq_batch_packets", "Packets that a receive call brought."),
	times("ipq_handler_duration_seconds", "How long calls of the handler took. Only with Config.Histograms.",
		func(h *ipq.QueueHistograms) *ipq.Histogram { return &h.HandlerTime }),
	times("ipq_verdict_latency_seconds", "Time from a packet's receive call until its verdict was written. Only with Config.Histograms.",
		func(h *ipq.QueueHistograms) *ipq.Histogram { return &h.VerdictLatency }),
}

// A label is the value of a label, and the count that it stands for.
type label struct {
	value string
	of    func(*ipq.Counts) uint64
}

var verdicts = []label{
	{"accept", func(c *ipq.Counts) uint64 { return c.Accepted }},
	{"drop", func(c *ipq.Counts) uint64 { return c.Dropped }},
	{"repeat", func(c *ipq.Counts) uint64 { return c.Repeated }},
	{"stop", func(c *ipq.Counts) uint64 { return c.Stopped }},
	{"requeue", func(c *ipq.Counts) uint64 { return c.Requeued }},
}

// A causeLabel is a label for what Causes has.
type causeLabel struct {
	value string
	of    func(*ipq.Causes) uint64
}

// causes are those of user space. Only the first is the handler's own.
var causes = []causeLabel{
	{"handler", func(c *ipq.Causes) uint64 { return c.Handler }},
	{"no_handler", func(c *ipq.Causes) uint64 { return c.NoHandler }},
	{"own", func(c *ipq.Causes) uint64 { return c.Own }},
	{"invalid", func(c *ipq.Causes) uint64 { return c.Invalid }},
	{"panic", func(c *ipq.Causes) uint64 { return c.Panic }},
	{"timeout", func(c *ipq.Causes) uint64 { return c.Timeout }},
	{"deferral", func(c *ipq.Causes) uint64 { return c.Deferral }},
	{"overload", func(c *ipq.Causes) uint64 { return c.Overload }},
	{"undecodable", func(c *ipq.Causes) uint64 { return c.Undecodable }},
	{"too_large", func(c *ipq.Causes) uint64 { return c.TooLarge }},
	{"end", func(c *ipq.Causes) uint64 { return c.End }},
	{"refused", func(c *ipq.Causes) uint64 { return c.Refused }},
}

var (
	queueFull  = causeLabel{"queue_full", func(c *ipq.Causes) uint64 { return c.QueueFull }}
	socketFull = causeLabel{"socket_full", func(c *ipq.Causes) uint64 { return c.SocketFull }}
)

func causesOf(part func(*ipq.Counts) *ipq.Causes, causes []causeLabel) (labels []label) {
	for _, cause := range causes {
		labels = append(labels, label{cause.value, func(c *ipq.Counts) uint64 { return cause.of(part(c)) }})
	}
	return labels
}

func counter(name, help string, of func(*ipq.Counts) uint64) *Family {
	return &Family{name, help, Counter, []string{"queue"}, func(q *queue, e emitter) { e.value(float64(of(&q.counts))) }}
}

func gauge(name, help string, of func(*queue) float64) *Family {
	return &Family{name, help, Gauge, []string{"queue"}, func(q *queue, e emitter) { e.value(of(q)) }}
}

// known is for what the kernel's table tells, which not everybody may read.
func known(name string, kind Kind, help string, of func(*ipq.Counts) uint64) *Family {
	return &Family{name, help, kind, []string{"queue"}, func(q *queue, e emitter) {
		if q.counts.KernelKnown {
			e.value(float64(of(&q.counts)))
		}
	}}
}

func by(name, family, help string, labels []label) *Family {
	return &Family{family, help, Counter, []string{"queue", name}, func(q *queue, e emitter) {
		for _, l := range labels {
			e.value(float64(l.of(&q.counts)), l.value)
		}
	}}
}

func info(name, help string) *Family {
	return &Family{name, help, Gauge, []string{"queue", "version", "mode"}, func(q *queue, e emitter) {
		mode := "pool"
		if q.cfg.Workers == ipq.Inline {
			mode = "inline"
		}
		e.value(1, version, mode)
	}}
}

// batches is the histogram that needs no clock. A class of sizes ends with a power of two.
func batches(name, help string) *Family {
	bounds := make([]float64, len(ipq.Counts{}.BatchSizes)-1)
	for i := range bounds {
		bounds[i] = float64(int(1) << i)
	}
	return &Family{name, help, Histogram, []string{"queue"}, func(q *queue, e emitter) {
		emitHistogram(e, q.counts.BatchSizes[:], float64(q.counts.Received), bounds)
	}}
}

func times(name, help string, of func(*ipq.QueueHistograms) *ipq.Histogram) *Family {
	bounds := make([]float64, ipq.HistogramBounds)
	for i := range bounds {
		bounds[i] = float64(ipq.HistogramBound(i)) / float64(time.Second)
	}
	return &Family{name, help, Histogram, []string{"queue"}, func(q *queue, e emitter) {
		if q.times != nil {
			h := of(q.times)
			emitHistogram(e, h.Buckets[:], h.Sum.Seconds(), bounds)
		}
	}}
}

// emitHistogram takes the counts between bounds; Prometheus wants those up to each.
func emitHistogram(e emitter, counts []uint64, sum float64, bounds []float64) {
	var upTo [64]uint64
	count := uint64(0)
	for i, n := range counts {
		count += n
		upTo[i] = count
	}
	e.histogram(count, sum, bounds, upTo[:len(bounds)])
}
