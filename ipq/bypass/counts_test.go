package bypass

import (
	"math/rand/v2"
	"testing"
)

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

// Without room a flow waits for a place; the longest unused is free after some
// packets of others. It is counted from the start then: never as another one.
func TestCountsForget(t *testing.T) {
	c, enough := newCounts(1), &Inspection{Packets: tenure * 2}
	if len(c.sets) != 1 {
		t.Fatalf("%d sets", len(c.sets))
	}
	for i := range uint32(ways) {
		c.add(countKey(i), uint64(i), 1, enough)
	}
	count := func(key *kernelFlowKey) uint64 {
		if f, known := c.sets[0].place(key); known {
			return f.packets
		}
		return 0
	}
	newcomer := countKey(ways)
	for range tenure - ways { // as many packets, with those of the others, as it is kept for
		c.add(newcomer, 0, 1, enough)
	}
	if count(newcomer) != 0 || count(countKey(0)) != 1 {
		t.Error("a flow was forgotten too early")
	}
	c.add(countKey(1), 0, 1, enough)
	c.add(newcomer, 0, 1, enough)
	if count(newcomer) != 1 || count(countKey(0)) != 0 || count(countKey(1)) != 2 {
		t.Error("not the oldest flow was forgotten")
	}
	c.forget(newcomer, 0)
	if count(newcomer) != 0 {
		t.Error("a flow is left that was to be forgotten")
	}
	if c := newCounts(1); !c.add(newcomer, 0, 1, &Inspection{Packets: 1}) || c.sets[0].flows[0].used != 0 {
		t.Error("one packet is not enough, or leaves something")
	}
}

// Flows that come by turns have enough some time, each of them, though there is
// not room for all of them at once: with one place after the other taken away
// again, none would.
func TestCountsMakeProgress(t *testing.T) {
	const room, flows, packets = 1 << 12, 1 << 14, 10
	c, enough := newCounts(room), &Inspection{Packets: packets}
	rng := rand.New(rand.NewPCG(1, 2))
	hashes := make([]uint64, flows)
	for i := range hashes {
		hashes[i] = rng.Uint64()
	}
	settled := make([]bool, flows)
	left, rounds := flows, 0
	for ; left > 0 && rounds < 20*packets; rounds++ {
		for i, done := range settled {
			if !done && c.add(countKey(uint32(i)), hashes[i], 100, enough) {
				settled[i] = true
				left--
			}
		}
	}
	if left > 0 {
		t.Errorf("after %d packets of each, %d of %d flows had not enough", rounds, left, flows)
	}
}

// A flow that sends much finds room among many that have ended.
func TestCountsAfterManyFlows(t *testing.T) {
	c, enough := newCounts(1), &Inspection{Packets: 10}
	for i := range uint32(1000) {
		c.add(countKey(i), 0, 100, enough)
	}
	for n := 1; !c.add(countKey(5000), 0, 100, enough); n++ {
		if n > tenure+10 {
			t.Fatalf("%d packets were not enough", n)
		}
	}
}

func TestCountsHaveRoom(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 1000, 1 << 16, 1<<16 + 1} {
		if room := len(newCounts(n).sets) * ways; room < n || room > 2*n+ways {
			t.Errorf("room for %d of %d flows", room, n)
		}
	}
}
