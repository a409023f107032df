package ipq

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/soak"
)

var (
	seedFlag    = flag.Uint64("seed", 0, "seed of the one property schedule to run; 0: many, of random seeds")
	packetsFlag = flag.Uint64("packets", 0, "how many packets all property schedules have together, or the one of -seed; 0: a few seconds' worth")
)

// Whatever comes, and however it goes wrong, every packet gets one verdict, the
// right one, in the order of its flow; the counts agree, and nothing is left.
//
// What is tried is drawn at random. A failure names the seed that tries the same
// again, but for the goroutines' interleaving:
//
//	go test ./ipq -run Property -seed 42
//	go test ./ipq -run Property -packets 20000000
func TestPropertySchedules(t *testing.T) {
	total, size := fewer(50_000), func() int { return usualSize }
	switch {
	case *seedFlag != 0:
		packets := usualSize
		if *packetsFlag != 0 {
			packets = int(*packetsFlag)
		}
		newSchedule(*seedFlag, packets).run(t)
		return
	case *packetsFlag != 0:
		total = *packetsFlag
		size = func() int { return 1 + rand.IntN(int(min(total, 1_000_000))) } // long runs, too
	}
	runSchedules(t, size, func(packets uint64) bool { return packets < total })
}

// TestPropertySoak is TestPropertySchedules for as long as GOIPQ_SOAK says.
func TestPropertySoak(t *testing.T) {
	end := time.Now().Add(soak.Duration(t, time.Second))
	runSchedules(t, func() int { return usualSize }, func(uint64) bool { return time.Now().Before(end) })
}

// usualSize is how many packets a schedule usually has: it takes some
// milliseconds then, or with many pauses a second.
const usualSize = 3000

// runSchedules runs schedules of random seeds and of the sizes given, while
// more, which knows how many packets were delivered, asks for them.
func runSchedules(t *testing.T, size func() int, more func(packets uint64) bool) {
	var schedules, packets uint64
	before, fds := goroutines(), descriptors(t)
	for more(packets) {
		s := newSchedule(rand.Uint64(), size())
		t.Run(fmt.Sprint(s.seed), func(t *testing.T) { packets += s.run(t) })
		if t.Failed() {
			return
		}
		schedules++
		settle(t, "goroutines", before, goroutines)
		settle(t, "descriptors", fds, func() int { return descriptors(t) })
	}
	t.Logf("%d schedules of %d packets", schedules, packets)
}
