// Package fakekernel is the kernel's side of a netfilter queue, for tests that
// need no privilege and no kernel: it speaks nfnetlink over a socket pair,
// queues packets that a test makes up, and keeps a ledger of the verdicts.
//
//	k, err := fakekernel.New(7)
//	... a queue is opened on k.Conn() ...
//	id := k.Queue(fakekernel.Packet{Payload: ip})
//	v, err := k.Verdict(ctx, id)
//
// Unlike the real one it re-injects nothing, and takes verdicts on a goroutine
// of its own rather than within the sender's sendmsg.
package fakekernel
