// Package stream shows the bytes of TCP connections to an inspector, in order and each
// once, before their receivers can read them.
//
// Whoever looks at packets one by one is fooled by a pattern that is cut in two, or by a
// segment that is sent twice with different bytes. An [Engine] is an [ipq.Handler] that
// keeps connections, and calls the user's [Inspector] with what comes next in each
// direction:
//
//	e, err := stream.New(stream.Config{
//		Open: func(c *stream.Conn) stream.Inspector { return newInspector(c) },
//	})
//	...
//	err = q.Run(ctx, e)
//	...
//	e.Close()
//
// # The promise
//
// The receiver's application reads no byte that the Inspector has not seen before, in
// that order. It holds for connections whose beginning the Engine has seen, as long as it
// keeps them: see [Config.Idle] and [Config.Midstream]. It rests on the receiver's own
// packets, which tell where a direction begins, and what has arrived. So it needs both
// directions to come by the Engine, and a network in which the sender cannot speak in
// the receiver's name: where sources of packets are checked, as by rp_filter.
//
// # How
//
// No packet waits for another. A segment that is next in order is inspected where it
// lies, and its verdict is the answer. One that is early is accepted at once, and
// remembered: its receiver cannot read it before the gap is filled, and the segment that
// fills the gap is answered for all that follows. If the Inspector says [Drop], that
// segment is dropped, and so is all that comes later.
//
// What was inspected, or is early, is remembered until its receiver acknowledges it. A
// segment with other bytes in the same place is dropped ([Conflict]). So it does not
// matter which of two overlapping segments a receiver prefers, nor whether it has got the
// first: it may have died on the way, or had an old timestamp.
//
// What some receivers take and others do not is dropped, or changed so that all
// understand it alike:
//
//   - Segments with wrong checksums, impossible flags, numbers or acknowledgements
//     outside the windows, data behind FIN, and RST with data are dropped. RST ends
//     nothing here: inspection goes on if its receiver does.
//   - A SYN whose first bytes could be taken for those of a connection that has not ended
//     is dropped. Other SYNs open the next connection once they are answered.
//   - Data in SYN (TCP Fast Open) is cut off; its sender repeats it at once.
//   - The URG flag is cleared, so that the urgent byte stays in the stream. Programs that
//     read it out of band (telnet, rlogin) find it there.
//   - Options of Multipath TCP are taken out of SYN, so that a connection has one path.
//   - Fragments of TCP, source routes and Mobile IP are dropped. Have the kernel put
//     fragments together: connection tracking does.
//
// [Stats] counts all that, by [Cause].
//
// # Packets
//
// The Engine needs whole packets: [ipq.CopyPacket], and no [ipq.Config.SnapLen]; a Queue
// with others does not run it. A super-packet of more than 65531 bytes (BIG TCP), which
// the kernel cuts all the same, is dropped, and counts as [Truncated].
// [ipq.Config.GSO] makes it much faster. It keeps the buffers of super-packets
// ([ipq.Packet.Exchange]), so a handler that hands packets on to it reads them before, not
// after; their Flow stays what it was.
//
// Pass and Drop have the rest of the connection decided in the kernel by
// [ipq.Config.Bypass]; without, the Engine decides the packets. A SYN ends what was
// settled ([ipq.Packet.Unsettle]), so a Bypasser should be an [ipq.Unsettler], as that of
// package bypass is, and both directions of a connection come by one queue: by two, a
// packet that passes may settle a flow just after a SYN has ended that.
//
// With [ipq.Config.Observe], FailOpen, and policies that accept, packets pass that the
// Engine would not have let pass, and the promise does not hold.
//
// # Bounds
//
// All memory is reserved by New. See [Config] for what happens at each bound.
package stream
