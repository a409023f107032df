package ipq

import (
	"bytes"
	"fmt"
	"runtime/trace"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/ring"
)

// What one system call does without telling the scheduler is bounded: batches
// up to ring.RawLimit are raw calls, with no more verdicts in a write than
// that; larger ones are not raw.
func TestRawCallsAreBounded(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for _, size := range []int{1, ring.RawLimit, ring.RawLimit + 1} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				want := size > ring.RawLimit
				var told [2]bool
				// A thread that is preempted during a raw call is in the
				// trace, too: on a busy machine many a time, but not always.
				for range 1000 {
					told = callsTold(t, workers, size)
					if told == [2]bool{want, want} {
						return
					}
				}
				t.Errorf("the scheduler was told of Recv: %v, of Send: %v; want %v", told[0], told[1], want)
			})
		}
	})
}

// callsTold runs a queue with batches of that size and reports of which of the
// two system calls the scheduler was told, by the stacks in the execution trace.
func callsTold(t *testing.T, workers, size int) (told [2]bool) {
	var out bytes.Buffer
	if err := trace.Start(&out); err != nil {
		t.Skip(err) // go test -trace
	}
	defer trace.Stop()
	f := newFake(t)
	const n = 4 * ring.RawLimit
	for range n {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	_, stop := f.serve(Config{Workers: workers, BatchSize: size}, func(p *Packet) Verdict {
		return Accept.WithMark(1) // a message for each
	})
	perWrite := map[int]int{}
	for id := range uint32(n) {
		perWrite[f.verdict(id+1).Write]++
	}
	stop()
	trace.Stop()
	for w, n := range perWrite {
		if n > size {
			t.Errorf("write %d had %d verdicts, more than a batch of %d", w, n, size)
		}
	}
	for i, call := range []string{"ring.(*Batch).Recv", "ring.(*Gather).Send"} {
		told[i] = bytes.Contains(out.Bytes(), []byte(call))
	}
	return told
}
