package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"
)

// patience bounds every wait of the tests; none waits that long unless
// something is broken.
const patience = time.Minute

// TestMain fails the run if any test leaves a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := poolGoroutines(); code == 0 && !eventually(func() bool { left = poolGoroutines(); return len(left) == 0 }) {
		fmt.Fprintf(os.Stderr, "goroutines left after all tests:\n%s\n", strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// newPool returns a pool that is closed, and must drain, when the test ends.
func newPool[T any](t *testing.T, cfg Config[T]) *Pool[T] {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closePool(t, p) })
	return p
}

func closePool[T any](t *testing.T, p *Pool[T]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Errorf("Close: %v; %+v", err, p.Stats())
	}
}

func submit[T any](t *testing.T, p *Pool[T], strand int, task T) {
	t.Helper()
	if err := p.Submit(strand, task); err != nil {
		t.Fatalf("Submit to strand %d: %v", strand, err)
	}
}

// receive takes one value from c, or fails the test.
func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("timed out waiting for %s", what)
		panic("unreachable")
	}
}

// eventually polls a condition that nothing signals.
func eventually(cond func() bool) bool {
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(100 * time.Microsecond)
	}
	return true
}

// poolGoroutines returns the stacks of the goroutines that belong to pools of
// this package: those of ants, save its global pool's two, and our own.
func poolGoroutines() []string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var found []string
	global := 2
	for _, g := range bytes.Split(buf, []byte("\n\n")) {
		switch {
		case bytes.Contains(g, []byte("worker.(*Pool")), bytes.Contains(g, []byte("goWorkerWithFuncGeneric")):
			found = append(found, string(g))
		case bytes.Contains(g, []byte("ants/v2.")):
			if global--; global < 0 {
				found = append(found, string(g))
			}
		}
	}
	return found
}

func TestConfigErrorNamesTheField(t *testing.T) {
	run := func([2]int) {}
	for _, tt := range []struct {
		name string
		cfg  Config[[2]int]
		want string
	}{
		{"no Run", Config[[2]int]{}, "Config.Run is nil"},
		{"negative Workers", Config[[2]int]{Run: run, Workers: -1}, "Config.Workers is -1"},
		{"negative Strands", Config[[2]int]{Run: run, Strands: -2}, "Config.Strands is -2"},
		{"negative Depth", Config[[2]int]{Run: run, Depth: math.MinInt}, "Config.Depth is -"},
		{"huge Workers", Config[[2]int]{Run: run, Workers: math.MaxInt}, "Config.Workers is "},
		{"too many strands", Config[[2]int]{Run: run, Strands: 1 << 28, Depth: 1}, "Config.Strands 268435456"},
		{"too much memory", Config[[2]int]{Run: run, Strands: 1 << 16, Depth: 1 << 16}, "Config.Depth 65536"},
		{"product beyond 64 bits", Config[[2]int]{Run: run, Strands: 1 << 30, Depth: 1 << 30}, "Config.Strands"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := New(tt.cfg)
			if err == nil {
				closePool(t, p)
				t.Fatal("New accepted it")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	st := newPool(t, Config[int]{Run: func(int) {}}).Stats()
	if n := runtime.GOMAXPROCS(0); st.Workers != n || st.Strands != n || st.Depth != DefaultDepth {
		t.Errorf("got %d workers, %d strands, depth %d; want %d, %d, %d",
			st.Workers, st.Strands, st.Depth, n, n, DefaultDepth)
	}
	if st := newPool(t, Config[int]{Workers: 3, Run: func(int) {}}).Stats(); st.Strands != 3 {
		t.Errorf("3 workers gave %d strands by default, want 3", st.Strands)
	}
}

func TestNoSuchStrand(t *testing.T) {
	p := newPool(t, Config[int]{Strands: 4, Run: func(int) {}})
	for _, strand := range []int{-1, 4, math.MaxInt} {
		for name, err := range map[string]error{"Submit": p.Submit(strand, 0), "TrySubmit": p.TrySubmit(strand, 0)} {
			if !errors.Is(err, ErrNoStrand) || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("%d is not within 0..3", strand)) {
				t.Errorf("%s to strand %d: %v", name, strand, err)
			}
		}
	}
	if st := p.Stats(); st.Submitted != 0 {
		t.Errorf("%d tasks were accepted", st.Submitted)
	}
}

// blockedPool returns a pool of one worker and one strand whose first task
// holds the worker until gate is sent to or closed, and whose further tasks
// each take one receive from gate, too.
func blockedPool(t *testing.T, depth int) (p *Pool[int], gate chan struct{}, ran chan int) {
	t.Helper()
	gate, ran = make(chan struct{}), make(chan int, 100)
	started := make(chan struct{}, 100)
	p = newPool(t, Config[int]{Workers: 1, Strands: 1, Depth: depth, Run: func(i int) {
		started <- struct{}{}
		<-gate
		ran <- i
	}})
	submit(t, p, 0, 0)
	receive(t, started, "the first task") // it no longer counts as waiting
	return p, gate, ran
}

func TestTrySubmitReportsFull(t *testing.T) {
	p, gate, ran := blockedPool(t, 2)
	for i := 1; i <= 2; i++ {
		if err := p.TrySubmit(0, i); err != nil {
			t.Fatalf("task %d of depth 2: %v", i, err)
		}
	}
	if err := p.TrySubmit(0, 3); !errors.Is(err, ErrFull) {
		t.Errorf("beyond the depth: %v, want ErrFull", err)
	}
	if st := p.Stats(); st.Submitted != 3 || st.Waiting != 2 || st.Running != 1 || st.Completed != 0 {
		t.Errorf("stats of a full strand: %+v", st)
	}
	gate <- struct{}{}
	receive(t, ran, "the first task's end")
	if !eventually(func() bool { return p.TrySubmit(0, 3) == nil }) {
		t.Error("no room after a task was taken")
	}
	close(gate)
}

func TestSubmitBlocksUntilThereIsRoom(t *testing.T) {
	p, gate, ran := blockedPool(t, 1)
	submit(t, p, 0, 1)
	const blocked = 3
	accepted := make(chan error, blocked)
	for i := range blocked {
		go func() { accepted <- p.Submit(0, 2+i) }()
	}
	if !eventually(func() bool { return p.Stats().Blocked == blocked }) {
		t.Fatalf("%d submitters did not block: %+v", blocked, p.Stats())
	}
	select {
	case err := <-accepted:
		t.Fatalf("Submit to a full strand returned %v", err)
	default:
	}
	for range blocked { // each task taken lets exactly one in
		gate <- struct{}{}
		receive(t, ran, "a task")
		if err := receive(t, accepted, "a blocked Submit"); err != nil {
			t.Errorf("blocked Submit: %v", err)
		}
	}
	if st := p.Stats(); st.Blocked != 0 {
		t.Errorf("%d still counted as blocked", st.Blocked)
	}
	close(gate)
}

func TestStatsAddUp(t *testing.T) {
	p := newPool(t, Config[int]{Workers: 2, Strands: 5, Run: func(int) {}})
	const n = 1000
	for i := range n {
		submit(t, p, i%5, i)
		if st := p.Stats(); st.Completed > st.Submitted || st.Running > 2 || st.Ready > 5 {
			t.Fatalf("impossible: %+v", st)
		}
	}
	closePool(t, p)
	want := Stats{Submitted: n, Completed: n, Workers: 2, Strands: 5, Depth: DefaultDepth}
	if got := p.Stats(); got != want {
		t.Errorf("after Close: %+v, want %+v", got, want)
	}
}

func TestSubmitAllocatesNothing(t *testing.T) {
	ran := make(chan struct{})
	p := newPool(t, Config[*int]{Workers: 2, Strands: 3, Run: func(*int) { ran <- struct{}{} }})
	task, strand := new(int), 0
	if n := testing.AllocsPerRun(1000, func() {
		if p.Submit(strand%3, task) != nil || p.TrySubmit((strand+1)%3, task) != nil {
			t.Error("not accepted")
		}
		<-ran
		<-ran
		strand++
	}); n != 0 {
		t.Errorf("%v allocations for two tasks submitted and run, want 0", n)
	}
}

func TestPoolKeepsNoTaskAlive(t *testing.T) {
	p := newPool(t, Config[*[64]byte]{Workers: 1, Strands: 1, Run: func(*[64]byte) {}})
	ran := weak.Make(func() *[64]byte {
		task := new([64]byte)
		submit(t, p, 0, task)
		return task
	}())
	if !eventually(func() bool { runtime.GC(); return ran.Value() == nil }) {
		t.Error("a task that has run cannot be collected while the pool is open")
	}
}
