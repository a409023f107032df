package ipq

import (
	"reflect"
	"testing"
)

// Each counter has a field of Stats, and each field has its counter, or is told by
// the kernel or the batches.
func TestCountersAreInStats(t *testing.T) {
	fromElsewhere := map[string]bool{
		"Batches": true, "QueueDropped": true, "SocketDropped": true, "Waiting": true, "Sequence": true,
	}
	var c counters
	for k := range c.n {
		c.n[k].Store(uint64(k) + 1)
	}
	var s Stats
	c.addTo(&s)
	seen := map[uint64]string{}
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if v.Field(i).Kind() != reflect.Uint64 || fromElsewhere[name] {
			continue
		}
		n := v.Field(i).Uint()
		switch {
		case n == 0:
			t.Errorf("Stats.%s has no counter", name)
		case n > uint64(ofAll) || seen[n] != "":
			t.Errorf("Stats.%s is %d: more than one counter adds to it, or its counter to %s, too", name, n, seen[n])
		}
		seen[n] = name
	}
	if len(seen) != int(ofAll) {
		t.Errorf("%d counters are in %d fields", ofAll, len(seen))
	}
}
