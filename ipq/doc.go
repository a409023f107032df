// Package ipq decides packets that Linux queues to user space: netfilter's
// NFQUEUE, heir of ip_queue and libipq(3).
//
// A rule such as
//
//	nft add rule inet filter forward queue num 0 bypass
//	iptables -A FORWARD -j NFQUEUE --queue-num 0 --queue-bypass
//
// hands packets to the queue; a program opens the queue and returns a verdict
// for each:
//
//	q, err := ipq.Open(ipq.Config{Queue: 0})
//	...
//	err = q.Run(ctx, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
//		if p.Flow().DstPort == 23 {
//			return ipq.Drop
//		}
//		return ipq.Accept
//	}))
//
// # The way of a packet
//
// One goroutine for each queue receives up to [Config.BatchSize] packets with
// one recvmmsg(2) into buffers that Open allocated, and decodes them in place.
// With [Inline] it also runs the handlers, one packet after the other: the
// fastest per core, if no handler blocks. Otherwise a batch is split by flow
// into shares that the workers of a bounded pool take. The verdicts of a share,
// or of an Inline batch, leave together in one sendmsg(2).
//
// # Order
//
// Packets of one flow are handled, and re-injected, in the order in which the
// kernel queued them. A flow is what [Flow.Hash] tells apart: both directions of a
// connection are one flow, and so are all fragments between two addresses. Packets
// of different flows may overtake each other in the pool. What is not IP counts as
// one flow, and so does every packet with [CopyMeta].
//
// Behind the queue the kernel's own rules hold: a device with a backlog for each
// CPU, such as loopback, can reorder what different threads hand to it under
// load, as it can without a queue.
//
// # Lifetime
//
// A [Packet] and every slice from it are borrowed until HandlePacket returns:
// the buffer is then used again. A program built with the race detector
// reports a handler that keeps one.
//
// # What is guaranteed
//
// Every packet received gets one verdict: a handler that panics stands for
// [Config.OnPanic], a message that cannot be decoded is dropped (accepted with
// FailOpen) by its id, a verdict that no kernel knows is Drop. Run returns when
// every packet that it took has its verdict written. Memory is bounded by what
// Open allocated, and nothing is allocated for a packet. Each loss and each
// refusal has a counter in [Stats].
//
// # Overload and slow handlers
//
// When all buffers are in use, [Config.Overload] says what becomes of further
// packets: the receiver waits ([Wait]), so that the kernel's queue fills, and
// then the kernel drops packets, or accepts them with [Config.FailOpen]; or it
// accepts or drops them itself, without the handler.
//
// A handler that needs an answer from elsewhere defers its packet
// ([Packet.Defer]) and returns; the verdict follows from any goroutine, within
// [Config.DeferTimeout]. One that does not return holds up its flow, and inline
// its queue, unless [Config.HandlerTimeout] has the packet decided without it.
//
// # The end
//
// Run ends with its context, with [Queue.Close], also in a handler, or because a
// queue failed. It then takes no more, decides what is queued, and unbinds; for
// handlers it waits no longer than [Config.DrainTimeout]. [Queue.Detach] leaves
// the queue to another process instead, without loss: see [Queue.File] and
// [FromFile].
//
// When the program ends, however it does, the kernel drops what it still
// holds, and later packets meet a queue without a listener: they are dropped,
// or go on if the rule says "bypass".
//
// # Watching it
//
// [Queue.Stats] has what happened to packets, by queue and by cause. With
// [Config.Histograms], [Queue.Histograms] has how long handlers and verdicts took.
// Package ipq/ipqprom shows both to Prometheus. In profiles of runtime/pprof the
// goroutines that handle packets have the labels ipq (receive or worker) and queue.
//
// # Privileges
//
// A queue needs CAP_NET_ADMIN over its network namespace: root, a capability
// of the binary, or a user namespace that owns the network namespace. [Reject]
// needs CAP_NET_RAW, too, to tell anybody. Without
// CAP_NET_ADMIN in the initial user namespace, receive buffers are limited by
// net.core.rmem_max. Where the network namespace was made together with its user
// namespace (unshare -Urn), the kernel hides its table of queues, so that [Stats]
// lacks QueueDropped, Waiting and Sequence.
//
// # libipq
//
// [Conn] has the shape of libipq(3), for programs that want to read packets
// and give verdicts themselves:
//
//	libipq(3)                              here
//	ipq_create_handle, ipq_destroy_handle  Dial, Conn.Close
//	ipq_set_mode                           Config.Copy and SnapLen, Conn.SetMode
//	ipq_read with its timeout              Conn.Read
//	ipq_message_type, ipq_get_packet,      a *Packet, or a typed error:
//	  ipq_get_msgerr                         nothing to cast
//	ipq_packet_msg_t                       methods of Packet
//	  packet_id, mark, hook                  ID, Mark, Hook
//	  timestamp_sec, timestamp_usec          Timestamp
//	  indev_name, outdev_name                InDev, OutDev, InterfaceName
//	  hw_protocol, hw_addr                   EtherType, HardwareAddr
//	  data_len, payload                      Len, Payload
//	ipq_set_verdict                        Conn.SetVerdict, Conn.Decide, or what
//	                                         a Handler returns
//	  with data_len and buf                  its payload, Packet.SetPayload
//	ipq_errstr, ipq_perror                 error values: errors.Is, errors.As
//	NFPROTO_IPV4, NFPROTO_IPV6             both come from one queue
//	checksums are the caller's to update   they follow the edit, unless
//	                                         Config.KeepChecksums
//	packets are dropped when nobody        the rule's bypass flag,
//	  listens                                Config.FailOpen
package ipq
