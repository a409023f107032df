package ipq

import (
	"reflect"
	"testing"
)

// eachCount calls f with the name of every count in c, by what stands before it.
func eachCount(v reflect.Value, name string, f func(name string, n reflect.Value)) {
	switch v.Kind() {
	case reflect.Uint64:
		f(name, v)
	case reflect.Struct:
		for i := range v.NumField() {
			eachCount(v.Field(i), name+"."+v.Type().Field(i).Name, f)
		}
	}
}

// Each counter has a field of Counts, and each field has its counter, or is told by
// the kernel or the batches.
func TestCountersAreInStats(t *testing.T) {
	fromElsewhere := map[string]bool{
		".Batches": true, ".QueueDropped": true, ".SocketDropped": true, ".Waiting": true, ".Sequence": true,
		".DroppedBy.QueueFull": true, ".DroppedBy.SocketFull": true, ".PassedBy.QueueFull": true, ".PassedBy.SocketFull": true,
	}
	var set counters
	for k := range set.n {
		set.n[k].Store(uint64(k) + 1)
	}
	var c Counts
	set.addTo(&c)
	seen := map[uint64]string{}
	eachCount(reflect.ValueOf(c), "", func(name string, v reflect.Value) {
		n := v.Uint()
		switch {
		case fromElsewhere[name]:
			return
		case n == 0:
			t.Errorf("Counts%s has no counter", name)
		case n > uint64(ofAll) || seen[n] != "":
			t.Errorf("Counts%s is %d: more than one counter adds to it, or its counter to %q, too", name, n, seen[n])
		}
		seen[n] = name
	})
	if len(seen) != int(ofAll) {
		t.Errorf("%d counters are in %d fields", ofAll, len(seen))
	}
}

// What has happened since is the difference of all counts, and states are as they
// are.
func TestStatsSub(t *testing.T) {
	fill := func(base uint64) (s Stats) {
		n := base
		eachCount(reflect.ValueOf(&s.Counts).Elem(), "", func(_ string, v reflect.Value) {
			v.SetUint(n)
			n += base
		})
		s.BatchSizes[3] = base
		s.Stuck, s.DeferredNow, s.KernelKnown, s.ReadBuffer = int(base), int(base), base > 1, int(base)
		s.Queues = []QueueStats{{Queue: 7, Counts: s.Counts}}
		return s
	}
	before, after := fill(1), fill(5)
	got := after.Sub(before)
	want := fill(4)
	for _, c := range []*Counts{&want.Counts, &want.Queues[0].Counts} {
		c.Waiting, c.Stuck, c.DeferredNow, c.KernelKnown, c.ReadBuffer = after.Waiting, 5, 5, true, 5
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want\n%+v", got, want)
	}
	if !reflect.DeepEqual(after, fill(5)) {
		t.Error("Sub changed what it was called with")
	}
	if d := before.Sub(after); d.Received != 0 {
		t.Errorf("the other way: %d received", d.Received)
	}
}
