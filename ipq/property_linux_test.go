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
//	go test ./ipq -run Property -soak 60s
func TestPropertySchedules(t *testing.T) {
	const each = 3000
	if *seedFlag != 0 {
		packets := each
		if *packetsFlag != 0 {
			packets = int(*packetsFlag)
		}
		newSchedule(*seedFlag, packets).run(t)
		return
	}
	var schedules, packets uint64
	more := func() bool { return packets < 50_000 }
	size := func() int { return each }
	switch {
	case *packetsFlag != 0:
		more = func() bool { return packets < *packetsFlag }
		size = func() int { return 1 + rand.IntN(int(min(*packetsFlag, 1_000_000))) } // long runs, too
	case soak.Wanted():
		end := time.Now().Add(soak.Duration(0))
		more = func() bool { return time.Now().Before(end) }
	}
	before, fds := goroutines(), descriptors(t)
	for more() {
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
