// Command ipq-bench shows what this machine can carry through packet ipq.
//
// Without flags, in about fifteen seconds, it makes a private network
// namespace, sends ICMP echo requests on its loopback link to a netfilter
// queue, floods that from many flows, and has the two ways of running handlers,
// Inline and the pool, accept every packet. The machine's own rules and
// interfaces are never touched. It needs Linux, and either root or the right to
// make a user namespace.
//
// # Method
//
// Machines drift, so the modes take turns: five rounds each, every one with a
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
// What was accepted is dropped as it arrives. Nobody answers: the kernel would
// do so in the system calls of the consumer, which is not to be measured, unless
// -replies asks for it.
//
// A flood with a CPU to itself sends whether there is room in the queue or not.
// One that shares the consumer's has an ordinary send buffer and waits: what it
// wasted on packets that find the queue full, the consumer would lack.
//
// At the end of every round the books must balance: what the floods sent is
// what the rule counted, and is what the queue received and decided plus what
// the kernel says it lost.
//
// # Exit status
//
//	0    measured, and the books balance
//	1    the run failed, or the books do not balance
//	2    wrong flag or value, or no private namespace to be had: nothing was run
//	130  ended by SIGINT; the table and the JSON file have what was measured
//	143  the same, by SIGTERM
//
// A second signal, half a second after the first or later, ends it at once.
package main
