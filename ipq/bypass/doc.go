// Package bypass has the kernel decide flows that a handler has settled, so that
// their packets are queued no more.
//
//	b, err := bypass.New(bypass.Config{})
//	...
//	rules, err := b.Install(bypass.Rules{Hook: ipq.Forward, Queue: 0})
//	...
//	q, err := ipq.Open(ipq.Config{Queue: 0, Bypass: b})
//	...
//	err = q.Run(ctx, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
//		if harmless(p) {
//			return ipq.Accept.Bypass() // this packet, and the rest of its flow
//		}
//		return ipq.Accept
//	}))
//
// Make the Bypasser and its rules first, then open the queue; at the end close
// the queue, then remove the rules and close the Bypasser. [Bypasser.Inspect]
// wraps a handler so that each flow is settled after its first packets.
//
// # The way of a packet
//
// A hash table in the kernel holds the settled flows. Two eBPF programs look
// packets up in it, as "match" expressions (xt_bpf) in front of the queue rule:
// the first one's rule accepts, the second one's drops, the third rule queues.
// [ipq.Verdict.Bypass] writes the entry before the verdict leaves, so the
// flow's next packet meets it. Nothing but the table changes then: no rule, no
// chain.
//
// Packets that were queued before keep their places and their own verdicts. So
// those that come later pass them: at the moment of settling a flow may be
// reordered, by as much as was waiting. Each of those that settles the flow once
// more renews its [Limits].
//
// Accepted means what it does in a verdict: the packet goes on at the next
// chain.
//
// # What is a flow
//
// The key is the whole five-tuple and the version of IP; there are no
// collisions. One entry stands for both directions. ICMP and ICMPv6 echo goes
// by its identifier, other protocols without ports by addresses and protocol.
// What cannot be told for certain is never decided by the kernel, and settling
// it fails with [ErrFlow]: fragments, the first included; ICMP errors and other
// messages; what is [ipq.Flow].Unknown, such as headers that are cut off. The
// programs pass 16 IPv6 extension headers and no more: packets with more are
// queued, though their flow can be settled, and is for its other packets.
// Where the kernel puts datagrams together first, which connection tracking
// does, there are no fragments to see.
//
// The flow is that of the packet as its handler leaves it. A handler that
// rewrites addresses or ports must not settle: the kernel would not rewrite.
//
// # When a flow ends
//
// [Limits] end it: a time-out, idle time, a budget of packets or bytes. Then
// its packets are queued again, and the handler may settle it anew. A TCP
// segment that opens a connection (SYN without ACK) on an accepted flow ends it
// at once, so that a connection which uses the ports again is looked at from
// its beginning. Packets of the old connection that still wait in front of that
// SYN might settle the flow once more; an [Inspector] sees to it, other
// handlers that settle TCP flows should call [ipq.Packet.Unsettle] when they meet a
// SYN. On a dropped flow a SYN is one more try, and dropped. Other protocols
// have no such sign: their idle time should be shorter than the time after
// which ports are used again.
//
// # Address translation and hooks
//
// A tuple is that of one hook. At Forward, and everywhere without NAT, both
// directions of a flow have the same; at Prerouting before the translation
// (priority -100) they may have two, and then each direction is settled for
// itself. The key does not have the interface: where address spaces overlap,
// have one Bypasser for each.
//
// # Without eBPF
//
// Loading programs needs privileges in the initial user namespace. Without, or
// on kernels before 5.10, [New] falls back to connection marks and tells so in
// the log: the verdict marks the packet, a later chain moves the mark to the
// connection, and the queueing chain accepts or drops by that. This needs
// connection tracking, which also has its own mind: packets that it does not
// track are never settled, and the second packet of a new flow is dropped if it
// comes while the first one still waits for its verdict. There are no limits,
// no table and no lease then; a configuration that asks for them fails with an
// [UnavailableError].
//
// # By sets of nft's own
//
// With [NFTSet] the flows are in sets of nftables: a rule looks each packet up, by
// address, address, protocol, port and port. Nothing is written from user space: the
// verdict marks the packet, and a later chain adds its flow, in both directions, or
// drops it. So settling costs no system call, but takes effect when the verdict is
// written, not before; and a [ipq.Verdict.WithMark] must leave the bits
// [Config.AcceptMark] and DropMark alone. It needs neither eBPF nor connection
// tracking, works for an ordinary user in namespaces of its own, and knows Timeout and
// Idle. It differs from what is said above in this:
//
//   - IPv6 packets with extension headers are queued, and do not settle their flow:
//     that fails with [ErrFlow]. Behind an authentication header nft sees nothing. So
//     a SYN behind one does not end the flow, and [ipq.Packet.Unsettle] fails for
//     it, with ErrFlow, too.
//   - Unsettle takes effect as the packet goes on, behind the verdicts on those in
//     front of it. It marks the packet for that. What is dropped, or marked anew by
//     WithMark, unsettles nothing.
//   - A flow is noted to be seen eight times within Idle, so that it may end an eighth
//     of Idle too early, and never too late. That takes a second look-up and more, so
//     that a packet costs more than with eBPF; with a negative Idle, or one that is
//     no shorter than Timeout, it does not. Both are 10 ms at least.
//   - When the sets are full, new flows are not settled, and nobody makes room:
//     [RuleCounters].NoRoom. [Config.Size] flows fit in each of six sets, by the
//     version of IP and by ports, echo or neither. A set takes kernel memory when it
//     holds them, not before.
//   - The kernel forgets flows, and does not tell: there is no [Table], no budget, no
//     lease, no PinDir, and no Lines. What asks for them fails with a [FieldError].
//   - One ruleset stands at a time, since its sets are its own: with chains at two
//     hooks, what ends at one would go on at the other.
//
// # The end of the program
//
// Rules stay when a program ends without removing them, and with them the
// programs and the table: see [Config.Lease] for what they do then. A second
// run finds the rules' table name taken; delete it, or choose another.
//
// # What a product must know
//
// Nothing is accepted that was not settled: keys are whole, what cannot be told
// for certain is queued, and so is what comes after a limit, while the table has
// no room for it, or after the end of a lease. What is settled wrongly, though,
// stays so until its limits. So:
//
//   - Settle late: a flow's first packet seldom shows what it is about.
//     [Bypasser.Inspect] waits for more. Give long flows a budget, so that they
//     are looked at now and then.
//   - Choose an idle time below that of what translates addresses or hands out
//     ports on the way: the same tuple is then never another host's unseen.
//   - Tunnels (GRE, ESP, IP in IP) and protocols without ports are one flow for
//     each pair of addresses: settling it settles all that is in it.
//   - A drop ends at this hook without a word to the sender, except at Output,
//     where its system call gets EPERM.
//   - Choose what a crash does: [Config.Lease], and [Rules].QueueBypass.
//   - Where no rules act on what is settled, the error is [ErrNoRules]; errors of
//     settling are in [ipq.Stats].BypassFailed and in the queue's log, and the
//     packet has its own verdict all the same. So a flow that cannot be settled
//     costs speed, and nothing else.
//   - Watch [Table.Counters]: Expired and Spent tell whether limits are too short.
//
// # Costs
//
// Measured on a virtual machine with kernel 6.18, whose indirect calls go through
// retpolines: a bypassed packet of one of 256 flows takes 170 to 220 ns more than
// one that meets no chain. An empty chain takes 20 to 55 of them, and a match whose
// program returns at once 90 to 150 with the chain, so that more than half is
// netfilter's; the program and what it misses in the caches is the rest. Run alone
// it takes 47 ns, an empty one 13. Counters are exact, so they are atomic, which is
// 20 ns of that; separate tables for IPv4 and IPv6 would save 5 to 30.
//
// So a flood of which all is bypassed runs at 0.84 to 0.87 of the bare rate where
// pings are dropped on arrival. Where the kernel answers them it is 0.92 for one
// flow, 0.88 for 1,024, and 0.80 for 4,096, whose entries are not in the nearest
// caches. Routed TCP, each flow accepted after ten packets, runs at 0.96 to 1.00.
// BenchmarkFlood and BenchmarkForward measure this, side by side, and so does
// ipq-bench -bypass. Settling costs a system call, of some 3 µs when the table is
// full, and allocates nothing.
package bypass
