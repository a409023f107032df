// Package fakekernel is the kernel's side of a netfilter queue, for tests that
// need no privilege and no kernel: it speaks nfnetlink over a socket pair or, on any
// system, in memory ([NewMemory]), queues packets that a test makes up, and keeps a
// ledger of the verdicts.
//
//	k, err := fakekernel.New(7)
//	... a queue is opened on k.Conn() ...
//	id := k.Queue(fakekernel.Packet{Payload: ip})
//	v, err := k.Verdict(ctx, id)
//
// It keeps to what nfnetlink_queue.c and af_netlink.c do with ids, the queue's
// length, its flags and its end, and with verdicts good, bad, late and unknown,
// each of which it answers as they do. Unlike the real one it re-injects
// nothing. A program that sends through [Kernel.SendMsg] has its verdicts taken
// within that call, as by the real one; for others a goroutine takes them.
//
// # The ledger
//
// Every packet delivered must be answered once. [Kernel.Check] tells of those
// that were not, of those answered twice, and of ids never queued. What each
// answer ought to be is known to the test: see [Kernel.Judge]. Packets that are
// settled take no memory then, so that a test may run for as long as it likes.
//
// # Faults
//
// A test has single calls fail ([Kernel.FailRecv], [Kernel.FailSend]), or at
// random by rate ([Kernel.Inject]); it flushes the queue, unbinds it, skips ids
// or sends any bytes ([Kernel.Flush], [Kernel.Unbind], [Kernel.SetSequence],
// [Kernel.Send]); packets can be damaged ([Damage]).
package fakekernel
