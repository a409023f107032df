package ipq

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

// Packets of a flow are handled and decided in order, whatever the handlers
// take, and no two handlers of one flow run at once.
func TestFlowsKeepTheirOrder(t *testing.T) {
	const flows, packets = 40, 4000
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	delays := make([]time.Duration, packets+1) // by id
	for i := range delays {
		if rnd.IntN(10) == 0 {
			delays[i] = time.Duration(rnd.IntN(300)) * time.Microsecond
		}
	}

	f := newFake(t)
	var mu sync.Mutex
	busy := map[Flow]bool{}
	handled := map[Flow][]uint32{}
	q, stop := f.serve(Config{Workers: 4}, func(p *Packet) Verdict {
		flow := p.Flow()
		mu.Lock()
		if busy[flow] {
			t.Errorf("two handlers of %v at once", flow)
		}
		busy[flow] = true
		handled[flow] = append(handled[flow], p.ID())
		mu.Unlock()
		time.Sleep(delays[p.ID()]) // what is tested is that this does not matter
		mu.Lock()
		busy[flow] = false
		mu.Unlock()
		return Accept
	})
	for range packets {
		f.queue(fakekernel.Packet{Payload: udp4(uint16(rnd.IntN(flows)), nil)})
	}
	for id := uint32(1); id <= packets; id++ {
		f.verdict(id)
	}
	stop()
	f.check()

	if len(handled) != flows {
		t.Errorf("%d flows, want %d", len(handled), flows)
	}
	for flow, ids := range handled {
		for i := 1; i < len(ids); i++ {
			if ids[i] < ids[i-1] {
				t.Errorf("%v: packet %d was handled after %d", flow, ids[i], ids[i-1])
			}
			a, b := f.verdict(ids[i-1]), f.verdict(ids[i])
			if b.Write < a.Write {
				t.Errorf("%v: packet %d was decided in write %d, before %d in write %d", flow, ids[i], b.Write, ids[i-1], a.Write)
			}
		}
	}
	if s := q.Stats(); s.Writes >= s.Verdicts {
		t.Errorf("%d writes for %d verdicts: nothing was coalesced", s.Writes, s.Verdicts)
	}
}

// A second queue at the next hook sees each flow's packets in the order in
// which they were sent, whatever the handlers of the first take. (Replies prove
// less: loopback itself may reorder what different CPUs hand to it.)
func TestKernelKeepsFlowsInOrder(t *testing.T) {
	const count = 20_000
	ns := labtest.New(t)
	ping := netlab.Match{EchoRequest: true}
	_, err := ns.InstallQueue(
		netlab.Rule{Hook: netlab.Output, Queue: fakeNumber, Match: ping},
		netlab.Rule{Hook: netlab.Postrouting, Queue: fakeNumber + 1, Match: ping},
	)
	if err != nil {
		t.Fatal(err)
	}
	last := map[Flow]uint64{}
	later, stopLater := serve(t, Config{Queue: fakeNumber + 1, NetNS: ns.FD(), Workers: Inline}, HandlerFunc(func(p *Packet) Verdict {
		const headers = 20 + 8 // of IPv4 and ICMP; then the flood's number, 48 bits of it
		n := binary.BigEndian.Uint64(p.Payload()[headers:]) & (1<<48 - 1)
		if before, ok := last[p.Flow()]; ok && n <= before {
			t.Errorf("%v: request %d comes behind %d", p.Flow(), n, before)
		}
		last[p.Flow()] = n
		return Accept
	}))
	q, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: 4}, HandlerFunc(func(p *Packet) Verdict {
		if h := p.ID() * 2654435761 >> 24; h < 8 { // one in 32, scattered
			time.Sleep(time.Duration(h) * 50 * time.Microsecond)
		}
		return Accept
	}))
	const flows = 37
	s := runFlood(t, ns, flood.Config{Count: count, Window: 256, Flows: flows})
	if err := errors.Join(stop(), stopLater()); err != nil {
		t.Fatal(err)
	}
	if s.Replies != count || s.Lost+s.Duplicates+s.Late != 0 {
		t.Errorf("flood: %+v", s)
	}
	if a, b := q.Stats().Verdicts, later.Stats().Verdicts; a != count || b != count || len(last) != flows {
		t.Errorf("%d and %d verdicts on %d flows", a, b, len(last))
	}
}

// What is no IP packet keeps its order, too.
func TestOtherProtocolsKeepTheirOrder(t *testing.T) {
	f := newFake(t)
	var mu sync.Mutex
	var ids []uint32
	_, stop := f.serve(Config{Workers: 4}, func(p *Packet) Verdict {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, p.ID())
		return Accept
	})
	arp := append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, make([]byte, 20)...)
	for i := range 500 {
		arp[20] = byte(i)
		f.queue(fakekernel.Packet{Protocol: 0x0806, Payload: arp})
	}
	f.verdict(500)
	stop()
	f.check()
	for i, id := range ids {
		if id != uint32(i+1) {
			t.Fatalf("packet %d was handled as number %d", id, i+1)
		}
	}
}

// A flow whose handler blocks holds up no other flow.
func TestSlowFlowDoesNotHoldUpOthers(t *testing.T) {
	f := newFake(t)
	release := make(chan struct{})
	once := sync.OnceFunc(func() { close(release) })
	const slow = 1
	q, stop := f.serve(Config{Workers: 2}, func(p *Packet) Verdict {
		if p.Flow().SrcPort == slow {
			<-release
		}
		return Accept
	})
	t.Cleanup(once) // before the wait for Run, so that a failure ends
	stuck := f.queue(fakekernel.Packet{Payload: udp4(slow, nil)})
	bucket := zerocopy.HashFlow(udp4(slow, nil), flowSeed) % flowBuckets
	strands := q.loops[0].to.(*pool).strands
	// The others come one by one. Half of them belong to the slow one's strand
	// by hash.
	for n, port := uint32(0), uint16(slow); n < 500; {
		port++
		other := udp4(port, nil)
		if zerocopy.HashFlow(other, flowSeed)%flowBuckets == bucket {
			continue // for all that the flow table knows, the same flow
		}
		f.verdict(f.queue(fakekernel.Packet{Payload: other}))
		// The verdict is out; a moment later its strand is idle.
		n++
		await(t, "the strand to be idle", func() bool { return strands[0].shares.Load()+strands[1].shares.Load() == n })
	}
	if n := f.Waiting(); n != 1 {
		t.Errorf("%d packets wait, want the slow one", n)
	}
	once()
	f.verdict(stuck)
	stop()
	f.check()
}

// A flow that is slow in one queue holds up nothing in another, though the
// workers are the same.
func TestSlowFlowDoesNotHoldUpOtherQueues(t *testing.T) {
	q, kernels := openTwo(t, Config{Workers: 2, BatchSize: 1, Batches: 2})
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	done := make(chan error, 1)
	go func() {
		done <- q.Run(context.Background(), HandlerFunc(func(p *Packet) Verdict {
			if p.Queue() == fakeNumber {
				<-held
			}
			return Accept
		}))
	}()
	stuck := kernels[0].queue(fakekernel.Packet{Payload: udp4(1, nil)})
	await(t, "the slow packet", func() bool { return q.Stats().Received == 1 })
	for port := range uint16(50) { // half of them belong to the strand of the same number
		kernels[1].verdict(kernels[1].queue(fakekernel.Packet{Payload: udp4(port, nil)}))
	}
	if n := kernels[0].Waiting(); n != 1 {
		t.Errorf("%d packets wait in the slow queue", n)
	}
	release()
	kernels[0].verdict(stuck)
	q.Close()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	kernels[0].check()
	kernels[1].check()
}

// Handlers' times are learned: strands are not taken for slow for ever.
func TestQuickHandlersAreFoundOut(t *testing.T) {
	f := newFake(t)
	q, stop := f.serve(Config{Workers: 2}, accept)
	strands := q.loops[0].to.(*pool).strands
	await(t, "a strand known to be quick", func() bool {
		f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		return min(strands[0].cost.Load(), strands[1].cost.Load()) < int64(initialCost)/2
	})
	stop()
}
