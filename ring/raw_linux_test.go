package ring

import (
	"bytes"
	"runtime/trace"
	"testing"
)

// Calls that handle up to RawLimit messages are raw, and larger ones tell the
// scheduler: the stacks in the execution trace show of which it was told.
func TestRawCallsAreBounded(t *testing.T) {
	for _, n := range []int{1, RawLimit, RawLimit + 1} {
		recv, send := pair(t)
		b := mustNew(t, Config{Batches: 1, Slots: n, SlotSize: 64, RecvSize: 64}).TryGet()
		g := NewGather(1, n)
		g.Add([]byte("text"))
		for call, f := range map[string]func(){
			"ring.(*Batch).Recv":  func() { b.Recv(recv) },
			"ring.(*Gather).Send": func() { g.Send(send) },
		} {
			told, want := false, n > RawLimit
			// A thread that is preempted during a raw call is in the trace,
			// too. That is rare.
			for try := 0; try == 0 || told != want && try < 5; try++ {
				var out bytes.Buffer
				if err := trace.Start(&out); err != nil {
					t.Skip(err) // go test -trace
				}
				for range 5 {
					f()
				}
				trace.Stop()
				told = bytes.Contains(out.Bytes(), []byte(call))
			}
			if told != want {
				t.Errorf("%d messages: the scheduler was told of %s: %v, want %v", n, call, told, want)
			}
		}
	}
}
