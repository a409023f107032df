package bench

import (
	"context"
	"fmt"
	"testing"

	"github.com/goipq/goipq/worker"
)

// BenchmarkWorker submits tasks that do nothing, in turn to each strand, as
// fast as the pool takes them. An operation is a task; tasks of more strands
// run in parallel.
func BenchmarkWorker(b *testing.B) {
	for _, strands := range []int{1, 2, 8, 64} {
		b.Run(fmt.Sprintf("strands=%d", strands), func(b *testing.B) { benchWorker(b, strands) })
	}
}

func benchWorker(b *testing.B, strands int) {
	p, err := worker.New(worker.Config[*int]{Strands: strands, Run: func(*int) {}})
	if err != nil {
		b.Fatal(err)
	}
	task := new(int)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := p.Submit(i%strands, task); err != nil {
			b.Fatal(err)
		}
	}
	// Within the timer, because Close waits for what is still to run.
	if err := p.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if s := p.Stats(); s.Completed != uint64(b.N) {
		b.Fatalf("ran %d tasks of %d", s.Completed, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}
