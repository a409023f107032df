// Command ipq-bench shows what this machine can carry through packet ipq.
//
// Without flags, in about fifteen seconds, it makes a private network
// namespace, sends ICMP echo requests on its loopback link to a netfilter
// queue, floods that from many flows, and has the two ways of running handlers,
// Inline and the pool, accept every packet. The machine's own rules and
// interfaces are never touched. It needs Linux, and either root or the right to
// make a user namespace.
//
// # Scenarios
//
// -scenario chooses what is sent, and where the queue stands:
//
//	icmp     echo requests on loopback, queued as they are sent
//	udp      datagrams over many flows on loopback, queued as they are sent
//	forward  datagrams, or with -tcp bulk connections, from a client through a
//	         router to a server, queued in the router where they are forwarded
//	churn    short TCP connections, 512 bytes each way, over the same route:
//	         their rate, and how long they take
//
// Client, router and server are network namespaces that veth pairs join. Those
// who send and receive are processes of this program on the floods' CPUs. -6
// makes it IPv6; -size goes from the smallest packet to jumbo frames of 9000
// bytes (on loopback to 65535), and -imix mixes sizes as the field does. TCP's
// super-packets are queued whole unless -gso=false has the kernel cut them up
// before the queue. Each connection's both directions are queued.
//
// -handler chooses what is done with each packet:
//
//	accept      nothing
//	drop        it is dropped
//	mix:P       P percent are dropped, evenly
//	parse       its five-tuple is looked up in a table
//	inspect     its payload is searched for all patterns at once (Aho-Corasick),
//	            and dropped if it has one; -patterns has a file of them
//	rewrite     its payload is changed, of TCP every byte, and its checksums with
//	            it
//	spin:TIME   it is computed on for so long
//	sleep:TIME  it is waited for so long
//
// -bypass PERCENT has the kernel decide so much of the flows by itself, through
// package bypass, after the handler has seen their first ten packets. What then
// arrives counts as before; the modes are unqueued and inline, to compare with.
// -sweep bypass=0,25,50,75,90,100 shows rate and CPU against the share. It needs
// eBPF, so root outside of user namespaces.
//
// The mode unqueued, beside inline and pool in -modes, is the same path with a
// rule that counts in the place of the one that queues. It takes its turn as
// they do, and each of their rounds is compared with that of the same number:
// in packets that arrive, TCP's goodput, or connections.
//
// # Method
//
// Machines drift, so the modes take turns: five rounds each (-rounds), every one with a
// new queue and a new flood, a warm-up that is not counted, and a window that
// is. The table has the median of the rounds, the least and the most.
//
// The flood is a process of its own, whose CPU time is counted nowhere, pinned
// to a CPU of its own; this process, the consumer, is kept to the others.
// Otherwise the scheduler would decide anew in each round which of them waits
// for the other. With -queues N there are N floods on N CPUs, chosen so that
// the rule's fan-out by CPU feeds every queue; where there are not N further
// CPUs for the consumer, it shares those of the floods. Where there are many
// CPUs, two floods feed each queue. -pin, beyond that, pins each receive loop
// to one CPU of the consumer's. The output and the JSON file say who was where.
//
// Datagrams and requests that were accepted are dropped as they arrive, at the
// end of the path. Nobody answers: the kernel would
// do so in the system calls of the consumer, which is not to be measured, unless
// -replies asks for it.
//
// A flood with a CPU to itself sends whether there is room in the queue or not.
// One that shares the consumer's has an ordinary send buffer and waits: what it
// wasted on packets that find the queue full, the consumer would lack.
//
// At the end of every round the books must balance: what the floods sent is
// what the rule counted, and is what the queue received and decided plus what
// the kernel says it lost; no more arrive than were accepted. Links before a
// router's queue may lose packets: those are counted. The packets of connections
// are counted by the rule alone. What these have carried at one end must come out
// at the other, when all have ended in order. Where super-packets are cut up for
// the queue, its own numbering of the segments is what must agree.
//
// # Figures
//
// CPU time is that of this process; user ns are its part outside the kernel.
// Kernel ns are what all CPUs of the machine spent in system calls and
// interrupts, senders' and others' included, divided by the packets that came
// through. Senders' CPU is that of their processes. What is lost is told by cause:
// the queue was full (queue_dropped), its socket's buffer was (queue_user_dropped),
// the handler dropped it, or it was lost on links and backlogs before the queue or
// behind it. Batches are counted by size.
//
// A figure is noisy when it varies by more than 15 % of its median between three
// rounds or more, or when half of its rounds were disturbed: other processes had
// more than 5 % of a CPU in user time, the hypervisor took more than 1 %, or a
// paced sender was so late that it made up for it in a burst of half of a queue.
// The output says so, and the JSON file of each figure why.
//
// # Throughput
//
// -rfc2544 searches for the throughput of RFC 2544, section 26.1: the highest
// offered rate at which not one packet is lost. The first trial is at full speed,
// the others halve the gap between the highest rate that lost nothing and the
// lowest that lost something, until it is -resolution percent of the latter. A
// trial sends at its rate for -trial, waits until every packet has come to its
// end, and compares the senders' own count with the kernel's at the far end; what
// the handler drops is not lost. All trials of a search are made on one queue. A
// search is repeated -rounds times; its result is the rate that was offered, not
// the one aimed at. The RFC wants trials of at least 60 s, and a report for each
// frame size: -trial 60s -sweep size=64,128,256,512,1024,1280,1500.
//
// Under the RFC one packet lost in one trial decides; here most of -tries trials
// of a rate must lose nothing, which bears a disturbance. For the same reason the
// queue holds 16,384 packets, unless -maxlen says otherwise: the kernel's own 1,024
// are full after 2.5 ms of a stall. A sender that was late makes up for no more
// than fills a quarter of the queue. A trial is made anew, up to three times, when
// the senders offered less than they should.
//
// # Latency
//
// -latency, with -rate, times datagrams (-scenario udp or forward) in an open
// loop: each is due at a time that depends on no other, and its latency runs from
// then until the kernel has it at the receiver, so that a stall counts for all
// that it holds up (no coordinated omission). A sender spins to be in time, on a
// CPU that it should have for itself. The same path without a queue takes its
// turn. What is lost has no latency; what the sender had no room to send is
// counted. The percentiles of HDR histograms are upper bounds, less than 1 %
// above the value. Connections of churn are always timed.
//
// # Sweeps
//
// -sweep FLAG=VALUE,VALUE,... measures as if the flag had each of the values:
// batch, workers, queues, maxlen, size, flows, handler or rate. All values and
// modes take turns, round by round, so that a drift of the machine does not look
// like an effect. It goes with -rfc2544 and -latency.
//
// # Soak
//
// -soak TIME runs each mode for that long under the load, instead of rounds. Some
// 200 times the live heap (after a garbage collection), resident memory,
// goroutines and descriptors are looked at. The first quarter is warm-up; what is
// larger in the last quarter than in the second is not flat: memory by more than
// a twentieth, a mebibyte and what the packets may use of the buffers, the heap by
// more than a twentieth and 128 KiB, goroutines by more than the pool's workers,
// which it starts when there is work for them all, descriptors by any. Under overload resident memory may also come to no more than a
// tenth above what it is when idle plus the queue's packet buffers, and nothing
// may outlive the queue.
//
// # Doctor
//
// ipq-bench doctor says what this kernel, these limits and this user allow, and
// what to change, a sentence a line. It tries each thing for real, in private
// namespaces: it has packets queued and accepted, asks for every flag of a
// queue, loads the eBPF programs, and, as root, sees whether ordinary users may
// have namespaces. Its exit status is 0 if goipq can work here at all, and 2 if
// it cannot.
//
// # Compare
//
// ipq-bench compare old.json new.json shows every figure of two reports, of
// -json or of bench/peers: the medians, their ratio, and the p of a
// Mann-Whitney U test over the rounds. Machines and settings that differ are
// named. It is slower when a figure of speed or cost is worse by -threshold
// percent or more (5 unless set) with p below -alpha (0.05); then the exit status
// is 1. It takes four rounds in each report at least: with fewer nothing is ever
// significant, and that is refused with 2, as are files that are no reports, and
// reports whose books do not balance. The path without a queue is shown and not
// judged, and of a comparison with peers only goipq's ratios to them are, since
// a slower machine changes neither. Rounds of one run have the machine's mood of
// that time in common: compare runs of one machine, and let it be idle.
//
// # Peers
//
// ipq-bench peers compares goipq with libnetfilter_queue, go-nfqueue and bare
// loops in C: under overload, at a steady rate, and as the way of TCP through a
// router; and the flood with a bare sendmmsg(2) loop. It is the program of the
// module bench/peers, so that this one depends on none of them, and is built from
// its sources with the go tool. What else is missing is named, with how to get
// it. -json writes what compare and html read. Its exit status is 1 when one of
// the programs failed.
//
// # Results
//
// -json writes every figure of every round; docs/bench/SCHEMA.md says what each
// field means, and how their version changes.
//
// -html writes a page with the figures and plots of the run, as HTML with SVG
// in it, which needs no network and suits light and dark, wide and narrow
// screens. ipq-bench html -o page.html results.json... makes one of reports that
// -json or bench/peers has written, several on a page; ipq-bench svg -o folder
// results.json... makes each plot a file of its own, for documents.
//
// # Exit status
//
//	0    measured, and the books balance
//	1    the run failed, the books do not balance, or a soak was not flat
//	2    wrong flag, value or file, or no private namespace to be had: nothing was run
//	3    measured, but what was printed could not be written: a full disk, a broken pipe
//	130  ended by SIGINT; the table and the JSON file have what was measured
//	143  the same, by SIGTERM
//
// 3 stands in place of 0 with every command. A file of -json, -html, -o or -svg
// that cannot be written is a failure of its command: 1 or 2. A standard output
// that was closed before the start is as good as /dev/null, which Go's runtime
// opens in its place, and is no error.
//
// A second signal, half a second after the first or later, ends it at once.
package main
