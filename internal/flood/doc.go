// Package flood fills private networks with packets: the load under which tests
// and benchmarks watch a packet queue. A flood is ICMP echo requests or UDP
// datagrams; a [Client] and a [Server] fill TCP connections with data, or make
// short ones one after the other.
//
// The flood runs in a process of its own, so that its CPU time is never
// counted with the consumer's. [Start] re-executes the running program, which
// therefore calls [Main] first thing in its main function or TestMain:
//
//	func main() {
//		flood.Main() // does not return in a process that Start made
//		...
//		f, err := flood.Start(ctx, flood.Config{Rate: 150_000, CPUs: []int{0}})
//		...
//		stats, err := f.Stop()
//	}
//
// The child runs in the network namespace of the thread that called Start. It
// ends when Count is reached, on [Flood.Stop], with the context, and when its
// parent dies: its standard input is a pipe whose other end only the parent
// holds. (PR_SET_PDEATHSIG would tie it to the parent's thread instead, and a
// thread that has entered a namespace is often a short-lived one.)
//
// # Safety
//
// Without a Config.To every packet goes to 127.1.0.0/16 or ::1, so nothing leaves
// the machine. The child also refuses, with [ErrNotPrivate], to flood a network
// that others use: its network namespace must be neither the initial one, which alone shows
// the sysctl net.core.dev_weight, nor, where that can be read, the one of
// process 1 (a container's own). Both work for an ordinary user inside a
// private user namespace.
//
// # Flows
//
// Packet number n, counted from 0, belongs to flow n mod Flows. Flow i has the
// destination i behind the first address of Config.To, which over IPv4 is
// 127.1.(i/256).(i%256) unless set; IPv6 has one loopback address, so without a
// To all its flows go there. A request has the ICMP identifier i, too. After the
// header of ICMP or UDP stands a big-endian 64-bit word: 16 bits that mark this
// run, and n in the lower 48.
//
// # Open and closed loop
//
// Without Window the flood does not look at replies, and a socket filter
// (ICMP_FILTER, ICMPV6_FILTER) keeps the kernel from queueing any to it. With
// Rate zero it sends as fast as the kernel takes the packets. With a Rate,
// packet n is due n/Rate after the start, whatever became of those before it.
// The sender sleeps until as many packets are due as 100 µs bring (one at
// least, Burst at most) and sends them with one sendmmsg: at 150,000/s that is
// 15 packets every 100 µs. A sender that wakes late sends all that is due by
// then, at full speed, in groups of Burst, or with a Config.CatchUp the latest of
// it; Stats.MaxLag tells how late it was.
//
// A flood that is Timed sends each packet on its own, when it is due, and watches
// the clock rather than sleep for less than 100 µs: it takes a CPU for itself. Each
// packet carries its time, and a [Receiver] at the other end counts how long after
// that it arrived, by the time at which the kernel had it there. So what the
// sender is late counts as well, as it does for those who wait for a packet.
//
// Packets that wait in a queue on OUTPUT stay charged to the sender's socket.
// Its send buffer is 64 MiB where CAP_NET_ADMIN in the initial user namespace
// allows, net.core.wmem_max elsewhere. What the socket refuses is counted, and
// the sender waits in poll(2) instead of spinning; a paced packet that is
// refused has missed its turn and is not sent later.
//
// With Window the flood is a closed loop: at most so many requests are
// unanswered, and every reply is checked for loss, repetition and order within
// its flow. A request unanswered for Timeout is lost, and the window moves on.
//
// # Connections
//
// A server listens on all addresses that it is told, and a client goes through
// those of a prefix, so that its ports do not run out. Bulk connections are
// written as fast as they take it. Those of a churn send some bytes, are answered
// and closed by the server, and are timed into counts that both processes share
// ([Flood.Latencies]): with a Client.Rate from when each was due, so that a stall
// counts for all that it has held up.
package flood
