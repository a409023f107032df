// Command ipq-bench shows what this machine can carry through packet ipq.
//
// Without flags it takes about fifteen seconds. It makes a private network
// namespace, floods a netfilter queue there with ICMP echo requests of many flows,
// and accepts every packet. It measures both ways of running handlers: inline, in
// the receive loop, and in the pool. The machine's own rules and interfaces are never
// touched. It needs Linux, and either root or the right to make a user namespace.
//
// # Scenarios
//
// -scenario chooses what is sent, and where the queue stands:
//
//	icmp     echo requests on loopback, queued as they are sent
//	udp      datagrams over many flows on loopback, queued as they are sent
//	forward  datagrams, or with -tcp bulk connections, from a client through a
//	         router to a server; the router queues what it forwards
//	churn    short TCP connections over the same route, 512 bytes each way:
//	         how many a second, and how long they take
//
// Client, router and server are network namespaces, joined by veth pairs. The
// processes that send and receive are copies of this program, on the floods'
// CPUs. -6 chooses IPv6. -size goes from the smallest packet to jumbo frames of
// 9000 bytes (on loopback to 65535), and -imix mixes sizes as the field does. TCP's
// super-packets are queued whole; with -gso=false the kernel cuts them into
// segments before the queue. Both directions of a connection are queued.
//
// -handler chooses what the handler does with each packet:
//
//	accept      it accepts it, and no more
//	drop        it drops it
//	mix:P       it drops P percent of the packets, evenly spread
//	parse       it looks the five-tuple up in a table
//	inspect     it searches the payload for many patterns at once (Aho-Corasick),
//	            and drops the packet if it finds one; -patterns names a file of them
//	rewrite     it changes the payload (of TCP every byte) and the checksums
//	stream      it puts each connection's bytes in order by package stream, and counts
//	            them; for TCP, so -scenario forward -tcp, and churn
//	spin:TIME   it computes for that time
//	sleep:TIME  it sleeps for that time
//
// -bypass PERCENT leaves that share of the flows to the kernel, through package
// bypass, once the handler has seen their first ten packets. What arrives counts
// as before. It compares the modes unqueued and inline, unless -modes says
// otherwise. -sweep bypass=0,25,50,75,90,100 shows rate and CPU against the share.
// It needs eBPF, and so root outside of user namespaces.
//
// -modes chooses what is measured: inline, pool, and unqueued. Unqueued is the same
// path with a rule that counts packets instead of queueing them. It takes turns
// with the others, and each of their rounds is compared with its round of the same
// number: by packets that arrive, by TCP's goodput, or by connections.
//
// # Method
//
// Machines drift, so the modes take turns, five rounds each (-rounds). Each round
// has a new queue, a new flood, a warm-up that does not count, and a window that
// does. The table shows the median of the rounds, the least and the most.
//
// The flood is a process of its own, pinned to a CPU of its own; its CPU time is
// not part of the consumer's. The consumer is this process. It keeps to the other
// CPUs, because the scheduler would otherwise decide in each round which of the two
// waits for the other. With -queues N there are N floods on N CPUs, chosen so that
// the rule's fan-out by CPU feeds every queue. Where there are not N more CPUs for
// the consumer, it shares those of the floods. Where there are many CPUs, two floods
// feed each queue. -pin also pins each receive loop to one of the consumer's CPUs.
// The output and the JSON file say who ran where.
//
// Requests and datagrams that were accepted are dropped at the end of their path,
// and nobody answers them. The kernel would answer within the consumer's system
// calls, which would count as the consumer's work. -replies asks for that.
//
// A flood with a CPU to itself sends whether or not the queue has room. A flood that
// shares the consumer's CPU has an ordinary send buffer and waits when that is full:
// otherwise it would waste CPU on packets that find the queue full.
//
// At the end of every round the books must balance. What the floods sent is what
// the rule counted. What the rule counted is what the queue received and decided,
// plus what the kernel says it lost. No more packets arrive than were accepted.
// Links before a router's queue may lose packets; those are counted. Of connections,
// only the rule counts packets: what the one end sent must come out at the other,
// once all have ended in order. Where super-packets are cut up for the queue, the
// queue's own numbering of the segments must agree.
//
// # Figures
//
// CPU time is this process's, and user ns are its part outside the kernel. Kernel
// ns are what all CPUs of the machine spent in system calls and interrupts, divided
// by the packets that came through; the senders' work is among it. Sender ns are the
// CPU time of the processes that send. Losses are told by cause: the queue was full
// (queue_dropped), its socket's buffer was full (queue_user_dropped), the handler
// dropped the packet, or links and backlogs lost it before the queue or behind it.
// Batches are counted by size.
//
// A figure is noisy when three rounds or more do not tell its median to ±10 %, with
// a confidence of 95 %, or when half of its rounds were disturbed. A round is disturbed when other
// processes used more than 5 % of a CPU in user time, when the hypervisor took more
// than 1 %, or when a paced sender was so late that it caught up with a burst that
// fills half of a queue. The output marks noisy figures, and the JSON file says why.
//
// # Throughput
//
// -rfc2544 searches for the throughput of RFC 2544, section 26.1: the highest
// offered rate at which not one packet is lost. The first trial is at full speed.
// The others halve the gap between the highest rate that lost nothing and the
// lowest that lost something, until it is -resolution percent of the latter. A
// trial sends at its rate for -trial, waits until every packet has come to its
// end, and compares the senders' count with the kernel's at the far end. What the
// handler drops is not lost. One queue serves all trials of a search. A search is
// repeated -rounds times; its result is the rate that was offered, not the one that
// was aimed at. The RFC wants trials of at least 60 s, and a report for each frame
// size: -trial 60s -sweep size=64,128,256,512,1024,1280,1500.
//
// Under the RFC one lost packet in one trial decides. Here most of a rate's -tries
// trials must lose nothing, so that one disturbance does not decide. For the same
// reason the queue holds 16,384 packets, unless -maxlen says otherwise: the kernel's
// own 1,024 are full after a stall of 2.5 ms. A sender that was late catches up with
// no more than fills a quarter of the queue. A trial is repeated, up to three times,
// when the senders offered less than they should have.
//
// # Latency
//
// -latency, with -rate, times datagrams (-scenario udp or forward) in an open
// loop. Each datagram is due at a time that depends on no other. Its latency runs
// from then until the kernel has it at the receiver, so that a stall counts for
// every datagram that it holds up (no coordinated omission). A sender spins to be on
// time, and should have a CPU for itself. The same path without a queue takes its
// turn. What is lost has no latency. What the sender had no room to send is counted.
// The percentiles come from HDR histograms: they are upper bounds, less than 1 %
// above the value. Connections of churn are always timed.
//
// # Sweeps
//
// -sweep FLAG=VALUE,VALUE,... measures with each of the values in turn. FLAG is
// batch, workers, queues, maxlen, size, flows, handler, rate or bypass. All values
// and modes take turns, round by round, so that a drift of the machine does not look
// like an effect. It goes with -rfc2544 and -latency.
//
// # Soak
//
// -soak TIME runs each mode under load for that time, instead of in rounds. Some 200
// times it looks at the live heap (after a garbage collection), resident memory,
// goroutines and descriptors. The first quarter is warm-up. The last quarter may
// exceed the second by this much, or the run is not flat:
//
//	resident memory  a twentieth, a mebibyte, and what the packets may use of
//	                 the buffers
//	live heap        a twentieth and 128 KiB
//	goroutines       the pool's workers, which start when there is work for all
//	descriptors      none
//
// Under load, resident memory may also exceed what it is when idle plus the queue's
// packet buffers by no more than a tenth. Nothing may outlive the queue.
//
// # Doctor
//
// ipq-bench doctor says what this kernel, these limits and this user allow, and what
// to change, each in a sentence. It tries each thing for real, in private namespaces:
// it has packets queued and accepted, asks for every flag of a queue, loads the eBPF
// programs and, as root, sees whether ordinary users may have namespaces. Where it was
// started it only asks: for this user's rights and buffers, and for flowtables, whose
// flows no queue sees. Its exit status is 0 if goipq can work here at all, and 2 if it cannot.
//
// # Compare
//
// ipq-bench compare old.json new.json shows every figure of two reports, from
// -json or bench/peers: the medians, their ratio, and the p of a Mann-Whitney U test
// over the rounds. It names the settings that differ. A figure of speed or cost is
// slower when it is worse by -threshold percent or more (5 unless set) and p is below
// -alpha (0.05 unless set); then the exit status is 1. Each report needs four rounds
// at least, since fewer can never differ significantly. Too few rounds, files that
// are no reports, and reports whose books do not balance are refused with status 2.
// The path without a queue is shown and not judged. In a comparison with peers only
// goipq's ratios to them are judged: they stay as they are when the machine is slower.
// The rounds of one run share the machine's mood of that time, so compare runs of one
// machine that was idle.
//
// # Peers
//
// ipq-bench peers compares goipq with libnetfilter_queue, go-nfqueue and bare
// loops in C: under overload, at a steady rate, and as the way of TCP through a
// router. It also compares the flood with a bare sendmmsg(2) loop. The program is the
// module bench/peers, so that this one depends on no rival; the go tool builds it
// from its sources. What else is missing is named, with how to get it. -json writes
// what compare and html read. The exit status is 1 when one of the programs failed.
//
// # Metrics
//
// -listen ADDRESS serves what the queue that is being measured counts, for Prometheus, at
// http://ADDRESS/metrics, in the namespace that ipq-bench was started in. Names and
// labels are those of package ipq/ipqprom, beside which there is a dashboard. The
// handler's time and the verdicts' latency are measured then, too; that, and each scrape,
// is CPU time of the consumer. Counters begin anew with each round; -soak has one round
// for each mode.
//
// # Results
//
// -json writes every figure of every round. docs/bench/SCHEMA.md says what each
// field means, and when the version of the format changes.
//
// -html writes a page with the figures and plots of the run: HTML with SVG in it,
// which loads nothing and suits light and dark, wide and narrow screens.
// ipq-bench html -o page.html results.json... makes one page of several reports of
// -json or bench/peers. ipq-bench svg -o folder results.json... writes each plot to a
// file, for documents.
//
// # Exit status
//
//	0    measured, and the books balance
//	1    the run failed, the books do not balance, or a soak was not flat
//	2    a wrong flag, value or file, or no private namespace: nothing was run
//	3    measured, but the output could not be written: a full disk, a broken pipe
//	130  ended by SIGINT; the table and the JSON file have what was measured
//	143  the same, by SIGTERM
//
// Status 3 takes the place of 0 with every command. If a file of -json, -html, -o or
// -svg cannot be written, the command has failed, with status 1 or 2. A standard
// output that was closed before the start is no error: Go's runtime opens /dev/null
// in its place.
//
// A third signal ends the program at once. (One may come twice.)
package main
