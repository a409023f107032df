package worker

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOrder submits from many goroutines to many strands, with random delays,
// panics and Goexits, and checks order, exclusion and the bound on workers.
// The strands' own records are plain variables: under -race this also proves
// that a task happens before the next one of its strand.
func TestOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 8 {
		workers, strands, depth := 1+rng.IntN(6), 1+rng.IntN(40), 1+rng.IntN(20)
		testOrder(t, rng.Uint64(), workers, strands, depth)
	}
}

func testOrder(t *testing.T, seed uint64, workers, strands, depth int) {
	const perStrand = 200
	type task struct {
		strand, number int
		delay          time.Duration
		end            int // 0 panics, 1 exits
	}
	next := make([]int, strands)
	inside := make([]atomic.Int32, strands)
	var atWork atomic.Int32
	p := newPool(t, Config[task]{Workers: workers, Strands: strands, Depth: depth, Run: func(k task) {
		defer atWork.Add(-1)
		defer inside[k.strand].Add(-1)
		if n := atWork.Add(1); int(n) > workers {
			t.Errorf("%d tasks at once on %d workers", n, workers)
		}
		if n := inside[k.strand].Add(1); n != 1 {
			t.Errorf("%d tasks of strand %d at once", n, k.strand)
		}
		if next[k.strand] != k.number {
			t.Errorf("strand %d ran task %d, want %d", k.strand, k.number, next[k.strand])
		}
		next[k.strand] = k.number + 1
		if k.delay > 0 {
			time.Sleep(k.delay)
		}
		switch k.end {
		case 0:
			panic("contained")
		case 1:
			runtime.Goexit()
		}
	}})

	var submitters sync.WaitGroup
	for s := range strands {
		rng := rand.New(rand.NewPCG(seed, uint64(s)))
		submitters.Go(func() {
			for i := range perStrand {
				k := task{strand: s, number: i, end: rng.IntN(50)}
				if rng.IntN(20) == 0 {
					k.delay = time.Duration(rng.IntN(50)) * time.Microsecond
				}
				var err error
				if rng.IntN(2) == 0 {
					err = p.Submit(s, k)
				} else {
					for err = p.TrySubmit(s, k); errors.Is(err, ErrFull); err = p.TrySubmit(s, k) {
						runtime.Gosched()
					}
				}
				if err != nil {
					t.Errorf("strand %d, task %d: %v", s, i, err)
				}
			}
		})
	}
	submitters.Wait()
	closePool(t, p)
	for s, n := range next {
		if n != perStrand {
			t.Errorf("strand %d ran %d tasks of %d", s, n, perStrand)
		}
	}
	if st := p.Stats(); st.Completed != uint64(strands*perStrand) || st.Running != 0 || st.Waiting != 0 {
		t.Errorf("after Close: %+v", st)
	}
	if t.Failed() {
		t.Logf("with %d workers, %d strands, depth %d", workers, strands, depth)
	}
}

// Every worker must be at work at once for the barrier to open.
func TestStrandsRunInParallel(t *testing.T) {
	const workers = 5
	var barrier sync.WaitGroup
	barrier.Add(workers)
	done := make(chan struct{}, workers)
	p := newPool(t, Config[int]{Workers: workers, Strands: 50, Run: func(int) {
		barrier.Done()
		barrier.Wait()
		done <- struct{}{}
	}})
	for i := range workers {
		submit(t, p, 10*i, i)
	}
	for range workers {
		receive(t, done, "all workers to meet")
	}
}

func TestSlowTaskHoldsUpNoOtherStrand(t *testing.T) {
	gate, ran := make(chan struct{}), make(chan int, 1000)
	p := newPool(t, Config[int]{Workers: 2, Strands: 10, Run: func(i int) {
		if i < 0 {
			<-gate
		}
		ran <- i
	}})
	submit(t, p, 0, -1)
	submit(t, p, 0, 0) // behind the slow one
	for i := 1; i < 500; i++ {
		submit(t, p, 1+i%9, i)
	}
	for range 499 {
		if i := receive(t, ran, "tasks of the other strands"); i <= 0 {
			t.Fatalf("task %d of the held strand ran", i)
		}
	}
	close(gate)
	if i := receive(t, ran, "the slow task"); i != -1 {
		t.Errorf("task %d overtook its predecessor", i)
	}
}

// One worker, and a strand that feeds itself until all the others are served.
func TestFairness(t *testing.T) {
	const strands, each = 4, 3 * quantum
	gate := make(chan struct{})
	var p *Pool[int]
	var sequence []int // strands, in the order in which the worker served them
	others := (strands - 1) * each
	p = newPool(t, Config[int]{Workers: 1, Strands: strands, Depth: each, Run: func(s int) {
		<-gate
		sequence = append(sequence, s)
		if s != 0 {
			others--
		} else if others > 0 && len(sequence) < 1000*each { // ends, too, if the others starve
			if err := p.TrySubmit(0, 0); err != nil {
				t.Error(err)
			}
		}
	}})
	submit(t, p, 0, 0)
	submit(t, p, 0, 0)
	for range each {
		for s := 1; s < strands; s++ {
			submit(t, p, s, s)
		}
	}
	close(gate)
	if !eventually(func() bool { return p.Stats().Running == 0 }) {
		t.Fatal("the pool does not come to rest")
	}
	closePool(t, p)

	if others != 0 {
		t.Errorf("%d tasks were not run", others)
	}
	row := 0
	for i, s := range sequence {
		if i == 0 || sequence[i-1] != s {
			row = 0
		}
		if row++; row > quantum {
			t.Fatalf("strand %d had %d tasks in a row while others waited, want at most %d", s, row, quantum)
		}
	}
}
