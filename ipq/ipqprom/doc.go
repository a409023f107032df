// Package ipqprom shows Prometheus what the queues of package ipq count.
//
//	q, err := ipq.Open(ipq.Config{Queues: 4, Histograms: true})
//	…
//	prometheus.MustRegister(ipqprom.NewCollector(q))
//	http.Handle("/metrics", promhttp.Handler())
//
// The queue costs nothing on top of its own counters: everything is read when
// Prometheus asks. [ipq.Config].Histograms is what the two histograms of time need.
//
// # Metrics
//
// All of them have the label queue, the number of the kernel's queue. [Bypass] adds some
// about the kernel's own table, [Stream] some about connections that are inspected.
//
//	ipq_packets_received_total         packets read from the kernel
//	ipq_verdicts_total{verdict}        accept, drop, repeat, stop, requeue
//	ipq_drops_total{reason}            packets dropped by a verdict, by why: handler,
//	                                   no_handler, invalid, panic, timeout, deferral,
//	                                   overload, undecodable, too_large, end, refused
//	ipq_passed_total{reason}           packets that passed without their handler's word:
//	                                   the same reasons but handler, and socket_full
//	ipq_kernel_dropped_total{reason}   packets that were never received: queue_full,
//	                                   socket_full
//	ipq_queue_length                   packets that wait in the kernel now
//	ipq_queue_length_limit             how many may (Config.MaxQueueLen)
//	ipq_handler_duration_seconds       histogram: calls of the handler
//	ipq_verdict_latency_seconds        histogram: from receiving to writing the verdict
//	ipq_batch_packets                  histogram: packets that a receive call brought
//	ipq_excess_total{action}           packets decided by Config.Overload: accept, drop
//	ipq_handler_timeouts_total         packets given Config.OnTimeout
//	ipq_handlers_stuck                 handlers that run past their time now
//	ipq_handler_panics_total           handlers that panicked
//	ipq_deferred                       packets that are deferred now
//	ipq_bypassed_flows_total           verdicts by which a flow was left to the kernel
//	ipq_info{version,mode}             1; inline or pool
//
// The rest of [ipq.Counts] is there, too, and says what it is in its help text. What the
// kernel's table tells, ipq_queue_length and ipq_kernel_queued_total, is left out where
// the table may not be read: see KernelKnown. With Config.FailOpen what does not fit into
// the socket's buffer was accepted, and is in ipq_passed_total.
//
// The bounds of the histograms are those of [ipq.HistogramBound] and of the classes of
// BatchSizes: what the queue counts is shown without loss.
//
// # Several queues
//
// A Queue that serves several kernel queues has samples for each. [Others] adds other
// Queues to a collector. Queues of the same number, in other network namespaces, need a
// label that tells them apart, and a collector each:
//
//	prometheus.WrapRegistererWith(prometheus.Labels{"netns": "red"}, registry).MustRegister(ipqprom.NewCollector(red))
//
// A Queue is closed for good. Whoever opens another in its place unregisters the former
// collector, and registers a new one; the counters begin at 0.
//
// # Dashboard
//
// dashboard.json, beside this file, is a dashboard for Grafana: rates by verdict and by
// cause, what was lost, the queue's length, time and latency, connections. Its variables
// choose the data source, jobs, instances and queues.
package ipqprom
