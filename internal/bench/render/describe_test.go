package render

import "testing"

func TestCPULists(t *testing.T) {
	for want, cpus := range map[string][]int{
		"CPU 7":        {7},
		"CPUs 0-2,5":   {0, 1, 2, 5},
		"CPUs 1,3,5-6": {1, 3, 5, 6},
	} {
		if got := cpuList(cpus); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
