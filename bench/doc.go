// Package bench holds goipq's benchmarks, from single messages to the whole
// way of a packet through the kernel. It has no code of its own.
//
//	go test -run '^$' -bench . -count 10 ./bench | tee new.txt
//	benchstat new.txt
//	benchstat old.txt new.txt
//
// (benchstat is golang.org/x/perf/cmd/benchstat.) They need neither root nor
// any preparation: what needs a network makes private namespaces. Only an
// ordinary user's BenchmarkBypass is skipped, as eBPF is root's.
//
// # What is measured
//
//   - BenchmarkDecode, BenchmarkEncode, BenchmarkFlowHash, BenchmarkChecksum:
//     the codec, one message or packet an operation.
//   - BenchmarkRing: a packet through the buffers, from Get through recvmmsg(2)
//     to Put. A pair of Unix sockets stands in for the kernel's queue.
//   - BenchmarkWorker: a task through the pool, from Submit to its end.
//   - BenchmarkPipeline: a packet through everything: the kernel's queue, the
//     handler, and the verdict with which the kernel sends it on.
//   - BenchmarkHandlerTimeout and BenchmarkDefer: the same with handlers that are
//     watched, and with verdicts that another goroutine gives later.
//   - BenchmarkHistograms: the same with handlers and verdicts that are timed, and
//     without.
//   - BenchmarkBypass: a packet of a flow that is settled, which the kernel
//     decides by itself, and one that meets no rule.
//   - BenchmarkTCP: a mebibyte of TCP through a router, with and without GSO, and
//     without a queue.
//   - BenchmarkStream: the same with a handler that accepts each packet, and with an
//     engine of ipq/stream whose inspectors count the bytes. For the ratio, run it again
//     and again, so that the two take turns.
//
// # The pipeline
//
// Another process sends ICMP echo requests over loopback, 64 of which are
// unanswered at any time. Such a closed loop loses nothing, which every run
// checks, and so each figure is the cost of packets that went all the way:
//
//   - ns/op: time for each packet, by the sender's clock, from its first
//     request to its last reply. Starting the sender (some 10 ms) is not in
//     it, so that short runs and long ones tell the same. pps is its inverse.
//   - cpu-ns/pkt: CPU time of this process for each packet, in user space and
//     in the kernel. As the kernel sends a packet on within the call that
//     writes its verdict, delivering the request is in it, and on loopback
//     answering it, too.
//   - cpu-ns/KiB, of BenchmarkTCP and BenchmarkStream: the same for each KiB that
//     came through.
//   - allocs/pkt: heap allocations of this process for each packet. The few
//     that a run costs as a whole show in short runs. B/op and allocs/op are
//     rounded down by the testing package.
//   - pkts/recv: packets for each recvmmsg(2).
//
// The handlers accept (work=accept), look at the flow first (flow), set a mark
// (mark), or change a byte of the payload, so that its checksum is made right
// (rewrite). A new mark makes the kernel look up the route once more.
//
// BenchmarkDefer allocates once for each packet, as ipq.Packet.Defer says. The
// CPU time of BenchmarkBypass is the sender's, in which all of a packet's way is.
// A packet of BenchmarkTCP is what TCP sends at once, up to 64 KiB, or a segment
// where GSO is off; its sender is as fast as TCP lets it, and all processes share
// all CPUs.
//
// It is a measure of cost, not of the most that a machine can carry, for which
// there is cmd/ipq-bench.
//
// # Comparing
//
// Machines drift: by the minute, and more so from day to day. Ratios within one
// run hold better than absolute times between two. Parts of names are written
// as key=value, so that benchstat forms such ratios:
//
//	go test -run '^$' -bench Pipeline -count 10 ./bench | tee run.txt
//	benchstat -col /mode run.txt
//	benchstat -col /work -filter '/mode:inline' run.txt
//
// # Regressions
//
// Names are kept from version to version. The file regression.txt has those by
// which versions are compared, one pattern a line: few enough to run often, and
// one of each part.
//
//	go test -run '^$' -bench "$(paste -sd '|' bench/regression.txt)" -count 10 ./bench | tee new.txt
package bench
