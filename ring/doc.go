// Package ring holds preallocated packet buffers for recvmmsg(2) and gather
// lists for sendmsg(2).
//
// The unit is the [Batch]: a slab of equal slots, the mmsghdr and iovec arrays
// that point into it, linked once, and a buffer for the verdicts on its
// packets. A [Ring] owns a fixed number of batches and recycles them:
//
//	b, err := r.Get(ctx)      // waits when every batch is in use
//	n, errno := b.Recv(fd)    // up to b.Slots() datagrams, without blocking
//	for i := range n {
//		decide(b.Msg(i))  // valid until Put
//	}
//	r.Put(b)                  // once; a second Put panics
//
// Everything is allocated by [New], so the number of batches is the bound on
// memory and, when all are in use, the back-pressure on the receiver. A batch
// belongs to whoever got it until it is put back; nothing in it is locked.
//
// Slots are large, because one packet can be 64 KiB, but the pages behind a
// slot become resident only when a packet reaches them (with transparent huge
// pages set to "always" the kernel rounds that up to 2 MiB). The free batches
// form a stack: the one put back last, still in the cache, is the next to go
// out, and reserves that are never reached never cost memory.
//
// In programs built with the race detector a batch is overwritten as it is put
// back, so that whoever still reads it is reported.
package ring
