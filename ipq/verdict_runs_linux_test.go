package ipq

import (
	"bytes"
	"runtime/trace"
	"slices"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
)

// In Inline mode a run of equal plain verdicts is one message, and nothing
// else is.
func TestInlineRunsBecomeBatches(t *testing.T) {
	f := newFake(t)
	marked := Accept.WithMark(1)
	give := []Verdict{Accept, Accept, Accept, Drop, Drop, marked, marked, Accept, Drop, Drop}
	batch := []bool{true, true, true, true, true, false, false, false, true, true}
	for i := range give {
		f.queue(fakekernel.Packet{Mark: uint32(i + 1), Payload: udp4(1, nil)})
	}
	q, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict { return give[p.Mark()-1] })
	for i := range give {
		v := f.verdict(uint32(i + 1))
		if v.Batch != batch[i] || v.Verdict != give[i].kernel() || v.Write != 1 {
			t.Errorf("packet %d: verdict %d, by a batch %v (want %v), in write %d", i+1, v.Verdict, v.Batch, batch[i], v.Write)
		}
	}
	stop()
	f.check()
	if s := q.Stats(); s.Messages != 6 || s.Writes != 1 || s.Verdicts != 10 {
		t.Errorf("%d messages in %d writes for %d verdicts, want 6 in 1 for 10", s.Messages, s.Writes, s.Verdicts)
	}
}

// Verdicts leave in the order of their packets, also where some need messages
// of their own between runs of equal ones.
func TestVerdictsLeaveInOrder(t *testing.T) {
	give := []Verdict{Accept, Accept, Accept.WithMark(1), Accept, Accept, Drop, Accept.WithMark(2), Drop, Drop}
	want := map[int][]uint32{
		Inline: {2, 3, 5, 6, 7, 9}, // the last of each run
		2:      {1, 2, 3, 4, 5, 6, 7, 8, 9},
	}
	eachMode(t, func(t *testing.T, workers int) {
		q, far := bareQueue(t, Config{Workers: workers})
		if err := <-feed(t, far, len(give)); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- q.Run(t.Context(), HandlerFunc(func(p *Packet) Verdict { return give[p.ID()-1] })) }()
		if got := writtenIDs(t, far, len(want[workers])); !slices.Equal(got, want[workers]) {
			t.Errorf("written: %v, want %v", got, want[workers])
		}
		q.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// With a pool no verdict may decide more than its own packet.
func TestPoolNeverWritesBatches(t *testing.T) {
	f := newFake(t)
	_, stop := f.serve(Config{Workers: 4}, func(p *Packet) Verdict { return Accept })
	for i := range 200 {
		f.queue(fakekernel.Packet{Payload: udp4(uint16(i%5), nil)})
	}
	for i := range 200 {
		if f.verdict(uint32(i + 1)).Batch {
			t.Fatalf("packet %d was decided by a batch", i+1)
		}
	}
	stop()
	f.check()
}

// While a packet is deferred no verdict on a run of packets is written, which
// would decide it, too; when it is decided there are runs again.
func TestNoRunsWhileAPacketIsDeferred(t *testing.T) {
	f := newFake(t)
	deferred := make(chan *Deferred, 1)
	const second, last, end = 2, 10, 15
	for range last {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	decided := make(chan struct{})
	_, stop := f.serve(Config{Workers: Inline, BatchSize: last, DeferTimeout: time.Hour}, func(p *Packet) Verdict {
		switch p.ID() {
		case second:
			return deferAll(t, deferred, Accept)(p)
		case last + 1: // the others come meanwhile
			<-decided
		}
		return Accept
	})
	for id := uint32(1); id <= last; id++ {
		if id != second {
			if v := f.verdict(id); v.Batch {
				t.Errorf("packet %d was decided by a run", id)
			}
		}
	}
	if n := f.Waiting(); n != 1 {
		t.Fatalf("%d packets wait", n)
	}
	if err := (<-deferred).Verdict(Drop); err != nil {
		t.Fatal(err)
	}
	if v := f.verdict(second); v.Verdict != 0 {
		t.Errorf("%+v", v)
	}
	for range end - last {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	close(decided)
	runs := 0
	for id := uint32(last + 1); id <= end; id++ {
		if f.verdict(id).Batch {
			runs++
		}
	}
	if runs < 2 { // of five packets that came in two batches at the most
		t.Errorf("%d packets were decided by runs when none was deferred any more", runs)
	}
	stop()
	f.check()
}

// No run is written once the socket was given out, also where some of it was
// gathered before.
func TestNoRunsOnASharedSocket(t *testing.T) {
	const n = 10
	for _, at := range []uint32{0, 1, 5} { // the packet whose handler gives it out
		f := newFake(t)
		q := f.open(Config{Workers: Inline, BatchSize: n})
		give := func() {
			file, err := q.File(0)
			if err != nil {
				t.Error(err)
				return
			}
			file.Close()
		}
		if at == 0 {
			give()
		}
		for range n {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		cancel, done := startRun(q, HandlerFunc(func(p *Packet) Verdict {
			if p.ID() == at {
				give()
			}
			return Accept
		}))
		for id := uint32(1); id <= n; id++ {
			if v := f.verdict(id); v.Batch != (id < at) {
				t.Errorf("given out by packet %d: packet %d was decided by a run: %v", at, id, v.Batch)
			}
		}
		cancel()
		if err := endOf(t, done); err != nil {
			t.Error(err)
		}
		f.check()
	}
}

// A batch verdict re-injects all that the kernel holds, within the call: it is
// no raw call, which would hold up a garbage collection for as long.
func TestBatchVerdictsAreNotRaw(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	var out bytes.Buffer
	if err := trace.Start(&out); err != nil {
		t.Skip(err) // go test -trace
	}
	err := c.SetVerdictBatch(1, Accept)
	trace.Stop()
	if err != nil || !bytes.Contains(out.Bytes(), []byte("ring.(*Gather).Send")) {
		t.Errorf("the scheduler was not told: %v", err)
	}
}
