package worker

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/panjf2000/ants/v2"
)

func benchPool[T any](b *testing.B, strands int, run func(T)) *Pool[T] {
	b.Helper()
	p, err := New(Config[T]{Strands: strands, Run: run})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// drain closes p within the measured time, so that ns/op covers running the
// tasks and not only their submission.
func drain[T any](b *testing.B, p *Pool[T]) {
	b.Helper()
	if err := p.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	if st := p.Stats(); st.Completed != uint64(b.N) {
		b.Fatalf("ran %d tasks of %d", st.Completed, b.N)
	}
}

// BenchmarkSaturated submits empty tasks as fast as the pool takes them.
func BenchmarkSaturated(b *testing.B) {
	for _, strands := range []int{1, 2, 64, 1024} {
		b.Run(fmt.Sprintf("strands=%d", strands), func(b *testing.B) {
			b.ReportAllocs()
			p := benchPool(b, strands, func(*int) {})
			task := new(int)
			for i := range b.N {
				if err := p.Submit(i%strands, task); err != nil {
					b.Fatal(err)
				}
			}
			drain(b, p)
		})
	}
}

// BenchmarkSaturatedSubmitters has GOMAXPROCS submitters, each with a strand
// of its own.
func BenchmarkSaturatedSubmitters(b *testing.B) {
	b.ReportAllocs()
	p := benchPool(b, runtime.GOMAXPROCS(0), func(*int) {})
	var number atomic.Int32
	b.RunParallel(func(pb *testing.PB) {
		strand := int(number.Add(1)) - 1
		task := new(int)
		for pb.Next() {
			if err := p.Submit(strand, task); err != nil {
				b.Error(err)
				return
			}
		}
	})
	drain(b, p)
}

// BenchmarkSaturatedAnts hands each task to ants by itself: what strands are
// measured against, without order and without a queue.
func BenchmarkSaturatedAnts(b *testing.B) {
	b.ReportAllocs()
	var ran atomic.Int64
	p, err := ants.NewPoolWithFuncGeneric(runtime.GOMAXPROCS(0), func(*int) { ran.Add(1) }, ants.WithDisablePurge(true))
	if err != nil {
		b.Fatal(err)
	}
	task := new(int)
	for range b.N {
		if err := p.Invoke(task); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.ReleaseContext(context.Background()); err != nil {
		b.Fatal(err)
	}
	if ran.Load() != int64(b.N) {
		b.Fatalf("ran %d tasks of %d", ran.Load(), b.N)
	}
}

// BenchmarkHandOver reports the median time from Submit to the task's start
// on an idle pool, for a submitter that goes on computing and for one that
// yields: Go starts a goroutine that was just woken on the waker's processor,
// and lets others take it from there only after some tens of microseconds.
func BenchmarkHandOver(b *testing.B) {
	type task struct {
		at     time.Time
		waited time.Duration
	}
	for name, after := range map[string]func(){"busy": func() {}, "yield": runtime.Gosched} {
		b.Run(name, func(b *testing.B) {
			p := benchPool(b, 8, func(k *task) { k.waited = time.Since(k.at) })
			tasks := make([]task, b.N)
			for i := range tasks {
				tasks[i].at = time.Now()
				if err := p.Submit(i%8, &tasks[i]); err != nil {
					b.Fatal(err)
				}
				after()
				for time.Since(tasks[i].at) < 100*time.Microsecond {
				}
			}
			drain(b, p)
			slices.SortFunc(tasks, func(x, y task) int { return int(x.waited - y.waited) })
			b.ReportMetric(float64(tasks[len(tasks)/2].waited.Nanoseconds()), "p50-ns")
		})
	}
}
