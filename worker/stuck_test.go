package worker

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
)

// A task that is marked as stuck keeps no worker from the other strands, and
// when it returns its own strand goes on, with no more workers than before.
func TestMarkStuckFreesTheWorker(t *testing.T) {
	for what, end := range map[string]func(){"return": func() {}, "goexit": runtime.Goexit, "panic": func() { panic("on purpose") }} {
		t.Run(what, func(t *testing.T) {
			const stuck, others = 3, 20 // tasks on strands of their own
			gate := make(chan struct{})
			started, ran := make(chan struct{}, stuck), make(chan int, 100)
			var running, most atomic.Int32
			p := newPool(t, Config[int]{Workers: 1, Strands: stuck + 1, Run: func(n int) {
				if n < 0 {
					started <- struct{}{}
					<-gate
					defer func() { ran <- n }()
					end()
					return
				}
				for now := running.Add(1); ; {
					if m := most.Load(); now <= m || most.CompareAndSwap(m, now) {
						break
					}
				}
				runtime.Gosched()
				running.Add(-1)
				ran <- n
			}})
			for k := range stuck {
				submit(t, p, k, -1)
				submit(t, p, k, k)
				receive(t, started, "a task that gets stuck")
				for range 2 { // the second call has no effect
					if err := p.MarkStuck(k); err != nil {
						t.Fatal(err)
					}
				}
			}
			for n := range others {
				submit(t, p, stuck, stuck+n)
				if got := receive(t, ran, "a task of the free strand"); got != stuck+n {
					t.Errorf("task %d ran, want %d", got, stuck+n)
				}
			}
			if !eventually(func() bool { st := p.Stats(); return st.Running == 0 && st.Stuck == stuck }) {
				t.Errorf("%+v", p.Stats())
			}
			if err := p.Close(expired()); err == nil {
				t.Error("Close did not wait for the tasks that are stuck")
			}
			close(gate)
			seen := map[int]bool{}
			for range 2 * stuck {
				n := receive(t, ran, "what was stuck, and what stood behind it")
				if n >= 0 && seen[n] {
					t.Errorf("task %d ran twice", n)
				}
				seen[n] = true
			}
			closePool(t, p)
			if st := p.Stats(); len(seen) != stuck+1 || st.Stuck != 0 || st.Running != 0 || st.Completed != st.Submitted {
				t.Errorf("ran %v, %+v", seen, st)
			}
			if n := most.Load(); n != 1 {
				t.Errorf("%d workers at once, want 1", n)
			}
		})
	}
}

func TestMarkStuckOfNoStrand(t *testing.T) {
	p := newPool(t, Config[int]{Workers: 1, Run: func(int) {}})
	for _, k := range []int{-1, 1} {
		if err := p.MarkStuck(k); !errors.Is(err, ErrNoStrand) {
			t.Errorf("strand %d: %v", k, err)
		}
	}
}
