package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/bench/report"
)

func TestPlacement(t *testing.T) {
	for _, c := range []struct {
		name            string
		allowed         []int
		queues          int
		flood, consumer []int
		fanout          bool
	}{
		{"one CPU is shared", []int{3}, 1, []int{3}, []int{3}, false},
		{"the flood is kept apart", []int{0, 1}, 1, []int{0}, []int{1}, false},
		{"many CPUs, two floods", []int{0, 1, 2, 3}, 1, []int{0, 1}, []int{2, 3}, false},
		{"a flood for each queue", []int{0, 1, 2, 3}, 2, []int{0, 1}, []int{2, 3}, true},
		{"no CPUs left for the consumer", []int{0, 1}, 2, []int{0, 1}, []int{0, 1}, true},
		{"too few left for the queues", []int{0, 1, 2}, 2, []int{0, 1}, []int{0, 1, 2}, true},
		// CPUs 0 and 2 feed the same one of two queues.
		{"one CPU of each kind", []int{0, 2, 3, 4}, 2, []int{0, 3}, []int{2, 4}, true},
		{"a queue out of reach", []int{0, 2, 4, 6}, 2, []int{0, 2}, []int{4, 6}, false},
		{"more queues than CPUs", []int{0, 1}, 3, []int{0, 1}, []int{0, 1}, false},
	} {
		got := place(c.allowed, c.queues)
		want := report.Placement{Flood: c.flood, Consumer: c.consumer, Fanout: c.fanout}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, want)
		}
	}
	if err := checkPin(place([]int{0, 1}, 3), 3); err == nil || !strings.Contains(err.Error(), "-queues 3") {
		t.Errorf("three receive loops on two CPUs: %v", err)
	}
	if err := checkPin(place([]int{0, 1}, 2), 2); err != nil {
		t.Error(err)
	}
}
