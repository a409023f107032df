package bypass

import "testing"

func countKey(i uint32) *kernelFlowKey {
	k := &kernelFlowKey{Kind: protoUDP | 4<<8}
	k.Lo.Addr[0] = i
	return k
}

// Each flow has its own count, of packets and of bytes; when it has had enough
// it starts anew.
func TestCounts(t *testing.T) {
	for _, enough := range []Inspection{{Packets: 3}, {Bytes: 250}, {Packets: 3, Bytes: 1000}, {Packets: 9, Bytes: 250}} {
		c := newCounts(ways)
		for round := range 2 {
			for n := range 3 {
				for i := range uint32(ways) {
					if got := c.add(countKey(i), 0, 100, &enough); got != (n == 2) {
						t.Errorf("%+v, round %d: packet %d of flow %d: %v", enough, round, n, i, got)
					}
				}
			}
		}
	}
}

// Without room the flow that was seen least recently is forgotten, and is
// counted from the start: never as another one.
func TestCountsForget(t *testing.T) {
	c, enough := newCounts(1), &Inspection{Packets: 2}
	if len(c.sets) != 1 {
		t.Fatalf("%d sets", len(c.sets))
	}
	for i := range uint32(ways + 1) {
		if c.add(countKey(i), uint64(i), 1, enough) {
			t.Errorf("flow %d had enough at once", i)
		}
	}
	if !c.add(countKey(ways), 0, 1, enough) || !c.add(countKey(1), 0, 1, enough) {
		t.Error("a recent flow was forgotten")
	}
	if c.add(countKey(0), 0, 1, enough) {
		t.Error("the oldest flow was kept")
	}
	c.forget(countKey(2), 0)
	if c.add(countKey(2), 0, 1, enough) {
		t.Error("a flow that was forgotten had enough")
	}
}

func TestCountsHaveRoom(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 1000, 1 << 16, 1<<16 + 1} {
		if room := len(newCounts(n).sets) * ways; room < n || room > 2*n+ways {
			t.Errorf("room for %d of %d flows", room, n)
		}
	}
}
