package worker

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

// A way in which a task, or OnPanic, can fail to return.
type misdeed int

const (
	none misdeed = iota
	panics
	panicsNil
	panicsInDefer
	exits
	exitsThenPanics
)

func (m misdeed) commit() {
	switch m {
	case panics:
		panic("misdeed")
	case panicsNil:
		panic(nil)
	case panicsInDefer:
		defer panic("misdeed")
		panic("overridden")
	case exits:
		runtime.Goexit()
	case exitsThenPanics:
		defer panic("misdeed")
		runtime.Goexit()
	}
}

// told is what OnPanic was told.
type told struct {
	task  int
	value any
	stack string
}

// With one worker, any that is lost stops the test.
func TestTaskThatDoesNotReturn(t *testing.T) {
	for _, tt := range []struct {
		name  string
		deed  misdeed
		check func(value any) bool
	}{
		{"panic", panics, func(v any) bool { return v == "misdeed" }},
		{"panic(nil)", panicsNil, func(v any) bool { _, ok := v.(*runtime.PanicNilError); return ok }},
		{"panic in defer", panicsInDefer, func(v any) bool { return v == "misdeed" }},
		{"Goexit", exits, func(v any) bool { return v == ErrGoexit }},
		{"Goexit, then panic", exitsThenPanics, func(v any) bool { return v == "misdeed" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const n = 30 // every third misbehaves
			var ran []int
			var reports []told
			p := newPool(t, Config[int]{Workers: 1, Strands: 2,
				Run: func(i int) {
					ran = append(ran, i)
					if i%3 == 0 {
						tt.deed.commit()
					}
				},
				OnPanic: func(i int, value any, stack []byte) {
					if ran[len(ran)-1] != i {
						t.Errorf("OnPanic for task %d came after task %d", i, ran[len(ran)-1])
					}
					reports = append(reports, told{i, value, string(stack)})
				},
			})
			for i := range n {
				submit(t, p, 0, i)
			}
			closePool(t, p)

			if len(ran) != n {
				t.Fatalf("%d of %d tasks ran", len(ran), n)
			}
			for i, v := range ran {
				if v != i {
					t.Fatalf("order %v", ran)
				}
			}
			if len(reports) != n/3 {
				t.Fatalf("OnPanic was called %d times, want %d", len(reports), n/3)
			}
			for i, r := range reports {
				if r.task != 3*i || !tt.check(r.value) {
					t.Errorf("report %d: task %d, value %v", i, r.task, r.value)
				}
				if !strings.Contains(r.stack, "misdeed.commit") {
					t.Errorf("the stack does not show the culprit:\n%s", r.stack)
				}
			}
			if st := p.Stats(); st.Panics != n/3 || st.Completed != n || st.OnPanicFailures != 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestOnPanicThatDoesNotReturn(t *testing.T) {
	for _, task := range []misdeed{panics, exits} {
		for _, report := range []misdeed{panics, exits} {
			const n = 20
			p := newPool(t, Config[misdeed]{Workers: 1, Strands: 1,
				Run:     misdeed.commit,
				OnPanic: func(misdeed, any, []byte) { report.commit() },
			})
			for range n {
				submit(t, p, 0, task)
				submit(t, p, 0, none)
			}
			closePool(t, p)
			if st := p.Stats(); st.Completed != 2*n || st.Panics != n || st.OnPanicFailures != n {
				t.Errorf("task %d, OnPanic %d: stats %+v", task, report, st)
			}
		}
	}
}

// Panics are contained here, not by ants, where they would cost the goroutine
// and a line on standard error.
func TestPanicKeepsTheGoroutine(t *testing.T) {
	gate := make(chan struct{})
	on := map[string]int{}
	p := newPool(t, Config[misdeed]{Workers: 1, Strands: 1,
		Run: func(m misdeed) {
			<-gate // until all are queued, so that the runner never runs dry
			stack := make([]byte, 64)
			stack = stack[:runtime.Stack(stack, false)]
			on[strings.SplitAfterN(string(stack), "[", 2)[0]]++ // "goroutine 7 ["
			m.commit()
		},
		OnPanic: func(m misdeed, _ any, _ []byte) { m.commit() },
	})
	for range 10 {
		submit(t, p, 0, panics)
		submit(t, p, 0, none)
	}
	close(gate)
	closePool(t, p)
	if len(on) != 1 {
		t.Errorf("tasks per goroutine: %v; want one goroutine", on)
	}
}

func TestPanicsAreCountedWithoutOnPanic(t *testing.T) {
	p := newPool(t, Config[misdeed]{Workers: 2, Strands: 8, Run: misdeed.commit})
	for i := range 100 {
		submit(t, p, i%8, misdeed(i%2)) // none, panics
	}
	closePool(t, p)
	if st := p.Stats(); st.Panics != 50 || st.Completed != 100 {
		t.Errorf("stats %+v", st)
	}
}

// A worker lost to Goexit must be replaced, not added to nor missed.
func TestGoexitKeepsTheNumberOfWorkers(t *testing.T) {
	const workers = 3
	arrived, leave := make(chan struct{}), make(chan struct{})
	p := newPool(t, Config[bool]{Workers: workers, Strands: 20, Run: func(meet bool) {
		if !meet {
			runtime.Goexit()
		}
		arrived <- struct{}{}
		<-leave
	}})
	for i := range 200 {
		submit(t, p, i%20, false)
	}
	if !eventually(func() bool { return p.Stats().Completed == 200 }) {
		t.Fatalf("not all exited: %+v", p.Stats())
	}
	for i := range 20 {
		submit(t, p, i, true)
	}
	for range workers {
		receive(t, arrived, "as many workers as before")
	}
	if st := p.Stats(); st.Running != workers || st.Panics != 200 {
		t.Errorf("stats %+v", st)
	}
	select {
	case <-arrived:
		t.Errorf("more than %d tasks at once", workers)
	case leave <- struct{}{}: // one leaves, one follows
		receive(t, arrived, "the next task")
	}
	close(leave)
	for range 20 - workers - 1 {
		receive(t, arrived, "the other tasks")
	}
}

func TestErrorsAreDistinct(t *testing.T) {
	all := []error{ErrClosed, ErrFull, ErrNoStrand, ErrGoexit}
	for i, a := range all {
		for j, b := range all {
			if errors.Is(a, b) != (i == j) {
				t.Errorf("errors.Is(%v, %v) is %v", a, b, i != j)
			}
		}
	}
}
