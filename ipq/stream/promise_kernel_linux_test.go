package stream

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipq/goipq/ipq"
)

var kernelConns = flag.Int("kernel-conns", 400, "hostile connections against the kernel as the receiver, in all")

// The promise, with the kernel as the receiver, behind a router with the queue: what a
// socket reads is the start of a stream that was inspected, whichever end is hostile. Of
// what the other end writes, the start was inspected.
func TestKernelPromise(t *testing.T) {
	t.Parallel()
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for i := range 8 { // in which each two of the choices have all values
		a, b, c := i&1 != 0, i&2 != 0, i&4 != 0
		v6, server, cfg := a, b, ipq.Config{Queue: 7, Workers: ipq.Inline, Queues: 1, MaxQueueLen: 4096}
		if c {
			cfg.Workers = 2
		}
		if cfg.GSO = a != b != c; a != b {
			cfg.Queues = 2
		}
		name := fmt.Sprintf("v6=%v,server=%v,workers=%d,queues=%d,gso=%v", v6, server, cfg.Workers, cfg.Queues, cfg.GSO)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conns := max(1, fewer(*kernelConns)/8)
			t.Logf("-seed %d -kernel-conns %d", seed, 8*conns)
			fight(t, newWorld(t, cfg, Config{MaxConns: 1 << 15, MaxMemory: 64 << 20, Idle: 10 * time.Second}, v6, server), uint64(i), seed, conns)
		})
	}
}

// fight has connections with a hostile end, several side by side. Those of another world
// make other choices by the same seed.
func fight(t *testing.T, w *world, number, seed uint64, conns int) {
	const beside = 16
	var next, sent, read, talks atomic.Int64
	var wg sync.WaitGroup
	for range min(beside, conns) {
		wg.Go(func() {
			for !t.Failed() {
				i := int(next.Add(1) - 1)
				if i >= conns {
					return
				}
				a := w.assault(uint16(20000 + i%30000))
				err := a.play(rand.New(rand.NewPCG(seed+uint64(i), number)), i)
				victims, inspected := a.end()
				if err := errors.Join(err, judge(victims, inspected)); err != nil {
					t.Errorf("-run %s -seed %d -kernel-conns 1: %v", t.Name(), seed+uint64(i), err)
				}
				for _, v := range victims {
					read.Add(int64(len(v.read)))
					talks.Add(1)
				}
				sent.Add(int64(a.sent))
			}
		})
	}
	wg.Wait()
	t.Logf("%d connections, %d packets, %d bytes read; %+v", talks.Load(), sent.Load(), read.Load(), w.e.Stats())
	const some = 40 // of which one or the other gets far
	if n := int(read.Load()); conns >= some && n < 5*conns {
		t.Errorf("%d bytes were read: the senders do not get far", n)
	}
}

// play plays the hostile end.
func (a *assault) play(rnd *rand.Rand, n int) error {
	d := newDuel(rnd, a.w.e, 0, newVersions(rnd), n)
	d.base = rnd.Uint32()
	d.isn = d.base - 1
	d.h.reopens = true
	d.ts = 200
	timestamps := d.oneIn(2)
	send := func(p packet) error { return a.send(&p, timestamps) }
	if a.w.server {
		defer a.call()()
		if err := a.await("the victim's call", func() bool { return a.answered }); err != nil {
			return err
		}
	} else {
		if err := send(packet{segment: segment{flags: syn, seq: d.isn, window: 65535}, ts: 1}); err != nil {
			return err
		}
		if err := a.await("a SYN", func() bool { return a.answered }); err != nil {
			return err
		}
	}
	for j := range 20 + rnd.IntN(60) {
		a.mirror(d.h)
		if j == 0 && !a.w.server { // which opens the connection
			if err := send(packet{segment: segment{flags: ack, seq: d.isn + 1, ack: d.h.sndNxt, window: 65535}, ts: 201}); err != nil {
				return err
			}
			continue
		}
		p := d.next()
		err := send(p)
		if d.oneIn(6) {
			p.lost = false
			err = errors.Join(err, send(p))
		}
		if err := errors.Join(err, a.settled()); err != nil {
			return err
		}
		if d.oneIn(10) {
			a.write([]byte("0123456789")[:1+d.IntN(9)])
		}
	}
	return nil
}

// judge compares what applications have read and written with what was inspected.
func judge(victims []*victim, inspected [][2][]byte) error {
	for _, v := range victims {
		ok := len(v.read) == 0
		for _, i := range inspected {
			ok = ok || bytes.HasPrefix(i[0], v.read)
		}
		if !ok {
			return fmt.Errorf("read %q, of no stream that was inspected", v.read)
		}
	}
	for _, i := range inspected {
		ok := len(i[1]) == 0
		for _, v := range victims {
			ok = ok || bytes.HasPrefix(v.written, i[1])
		}
		if !ok {
			return fmt.Errorf("inspected %q, which nobody has written", i[1])
		}
	}
	return nil
}
