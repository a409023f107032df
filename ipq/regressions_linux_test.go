package ipq

import (
	"bytes"
	"runtime/trace"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

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

// What the kernel has counted is known after Close, also without a Run.
func TestKernelCountsOutliveClose(t *testing.T) {
	ns := labtest.New(t)
	q := sendUnserved(t, ns, Config{MaxQueueLen: 2}, 5, "text")
	q.Close()
	checkKernelStats(t, ns, "after Close", q.Stats(), kernelCounters{queueDropped: 3, sequence: 2})
}

// A stop while the loop looks for packets is no park.
func TestStopDuringBusyPollIsNoPark(t *testing.T) {
	f := newFake(t)
	q, stop := f.serve(Config{Workers: Inline, BusyPoll: time.Hour}, accept)
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
	stop()
	if n := q.Stats().Parks; n != 0 {
		t.Errorf("%d parks", n)
	}
}
