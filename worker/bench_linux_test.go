package worker

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// BenchmarkPaced submits an empty task every so often, too seldom to keep a
// worker busy. cpu-ns/task is the CPU time of every thread but the pacer's,
// hence of waking, running and going back to sleep, the Go scheduler's share
// included; submit-ns/task is the time that Submit took.
func BenchmarkPaced(b *testing.B) {
	for _, every := range []time.Duration{2, 10, 50, 200} {
		every *= time.Microsecond
		b.Run(fmt.Sprint(every), func(b *testing.B) {
			runtime.LockOSThread() // the pacer spins: tell its thread from the others
			defer runtime.UnlockOSThread()
			p := benchPool(b, 8, func(*int) {})
			task := new(int)
			var submitting time.Duration
			before := cpuOfOthers(b)
			due := time.Now()
			for i := range b.N {
				for time.Since(due) < every {
				}
				due = time.Now()
				if err := p.Submit(i%8, task); err != nil {
					b.Fatal(err)
				}
				submitting += time.Since(due)
			}
			b.StopTimer()
			drain(b, p)
			cost := cpuOfOthers(b) - before
			b.ReportMetric(float64(cost.Nanoseconds())/float64(b.N), "cpu-ns/task")
			b.ReportMetric(float64(submitting.Nanoseconds())/float64(b.N), "submit-ns/task")
		})
	}
}

// cpuOfOthers returns the CPU time, user and system, that the threads of the
// process other than the caller's have used.
func cpuOfOthers(tb testing.TB) time.Duration {
	tb.Helper()
	const rusageThread = 1 // RUSAGE_THREAD, which package syscall lacks
	var all, own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &all); err != nil {
		tb.Fatal(err)
	}
	if err := syscall.Getrusage(rusageThread, &own); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(all.Utime.Nano() + all.Stime.Nano() - own.Utime.Nano() - own.Stime.Nano())
}
