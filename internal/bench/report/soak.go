package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
)

// A Usage is what the process holds at a time.
type Usage struct {
	At          time.Duration `json:"at_ns"`           // since the load began; 0 before it
	Resident    uint64        `json:"resident_bytes"`  // memory
	Heap        uint64        `json:"live_heap_bytes"` // what is left after a garbage collection
	Goroutines  int           `json:"goroutines"`      // of this process
	Descriptors int           `json:"descriptors"`     // open files and sockets
}

// A Soak is a long run of one mode, and what the process held meanwhile.
type Soak struct {
	Mode     string        `json:"mode"`         // "inline" or "pool"
	Duration time.Duration `json:"duration_ns"`  // that it ran under load
	Before   Usage         `json:"before"`       // without the queue
	Idle     Usage         `json:"idle"`         // the queue is served, nothing is sent
	After    Usage         `json:"after"`        // the queue is closed
	Whole    bool          `json:"whole"`        // no signal cut it short
	Buffers  uint64        `json:"buffer_bytes"` // what the packet buffers may come to
	Samples  []Usage       `json:"samples"`      // under load
	Life     Life          `json:"life"`         // what the books are made from
	Problems []string      `json:"problems"`     // a sentence for each thing that did not stay flat

	// Workers is how many the pool starts once there is work for them all. Fresh is
	// how many bytes of the buffers packets of this size use, once many wait. Both
	// may come late in a run, and are no growth.
	Workers int    `json:"-"`
	Fresh   uint64 `json:"-"`
}

// FewestSamples is how many a soak must have to be judged: two to a quarter.
const FewestSamples = 8

// peak is the most resident memory of all samples.
func (k *Soak) peak() uint64 {
	var most uint64
	for _, u := range k.Samples {
		most = max(most, u.Resident)
	}
	return most
}

// quarter returns the samples of the quarter n of four.
func (k *Soak) quarter(n int) []Usage {
	return k.Samples[len(k.Samples)*n/4 : len(k.Samples)*(n+1)/4]
}

// Judge writes down what did not stay flat. The first quarter is warm-up. The
// medians of the second quarter and of the last are compared.
func (k *Soak) Judge() {
	problem := func(format string, args ...any) { k.Problems = append(k.Problems, fmt.Sprintf(format, args...)) }
	if len(k.Samples) < FewestSamples {
		if k.Whole {
			problem("only %s could be taken, too few to judge by", plain.Plural(len(k.Samples), "sample"))
		}
		return
	}
	for _, c := range usageColumns {
		a, b := middle(k.quarter(1), c.of), middle(k.quarter(3), c.of)
		if allowed := a + a/100*c.percent + c.slack + c.late(k); b > allowed {
			problem("%s grew from %s to %s", c.name, c.show(a), c.show(b))
		}
	}
	if most := (k.Idle.Resident + k.Buffers) / 10 * 11; k.peak() > most {
		problem("resident memory under load came to %s, more than a tenth above the %s when idle plus %s of buffers",
			plain.Mebibytes(k.peak()), plain.Mebibytes(k.Idle.Resident), plain.Mebibytes(k.Buffers))
	}
	if k.After.Goroutines > k.Before.Goroutines {
		problem("%d goroutines outlived the queue", k.After.Goroutines-k.Before.Goroutines)
	}
	if k.After.Descriptors > k.Before.Descriptors {
		problem("%d descriptors outlived the queue", k.After.Descriptors-k.Before.Descriptors)
	}
}

// usageColumns are the parts of a usage, and how much each may grow and still count
// as flat: a percentage for what the allocator rounds up, some slack for what the Go
// runtime itself takes now and then, and what may come late.
var usageColumns = []struct {
	name           string
	of             func(*Usage) uint64
	show           func(uint64) string
	percent, slack uint64
	late           func(*Soak) uint64
}{
	{"resident memory", func(u *Usage) uint64 { return u.Resident }, plain.Mebibytes, 5, 1 << 20, func(k *Soak) uint64 { return k.Fresh }},
	{"the live heap", func(u *Usage) uint64 { return u.Heap }, plain.Mebibytes, 5, 128 << 10, none},
	{"goroutines", func(u *Usage) uint64 { return uint64(u.Goroutines) }, plain.Commas, 0, 0, func(k *Soak) uint64 { return uint64(k.Workers) }},
	{"descriptors", func(u *Usage) uint64 { return uint64(u.Descriptors) }, plain.Commas, 0, 0, none},
}

func none(*Soak) uint64 { return 0 }

// middle is the median of a part of some usages.
func middle(all []Usage, of func(*Usage) uint64) uint64 {
	values := make([]uint64, len(all))
	for i := range all {
		values[i] = of(&all[i])
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// Describe says whether it stayed flat.
func (k *Soak) Describe() string {
	switch {
	case len(k.Problems) > 0:
		return "NOT FLAT: " + strings.Join(k.Problems, "; ")
	case len(k.Samples) < FewestSamples:
		return "too short to judge"
	}
	return fmt.Sprintf("flat; resident memory came to %s under load, %s when idle, beside %s of buffers",
		plain.Mebibytes(k.peak()), plain.Mebibytes(k.Idle.Resident), plain.Mebibytes(k.Buffers))
}

// Table returns the names of the parts of the usage, and a row for each of them:
// when idle, in each quarter but the first, the most, and when all is over.
func (k *Soak) Table() (names []string, rows [][]string) {
	for _, c := range usageColumns {
		names = append(names, strings.TrimPrefix(c.name, "the "))
		row := []string{c.show(c.of(&k.Idle))}
		for n := 1; n < 4; n++ {
			if q := k.quarter(n); len(q) > 0 {
				row = append(row, c.show(middle(q, c.of)))
			} else {
				row = append(row, "-")
			}
		}
		var most uint64
		for i := range k.Samples {
			most = max(most, c.of(&k.Samples[i]))
		}
		rows = append(rows, append(row, c.show(most), c.show(c.of(&k.After))))
	}
	return names, rows
}
