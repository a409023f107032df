package bypass

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/race"
	"github.com/goipq/goipq/ipq"
)

// numbered returns the i-th of many flows, and a packet of it.
func numbered(i uint32) (ipq.Flow, []byte) {
	ip := ip4(protoUDP, 0, 0, ports(uint16(i), 53))
	ip[12], ip[13], ip[14], ip[15] = 10, byte(i>>24), byte(i>>16), 7
	f, _ := parsed(ip)
	return f, ip
}

// A full table takes every new flow, grows no further, and decides none that
// was not settled. Those that had to go are queued.
func TestFullTable(t *testing.T) {
	const size = 1024
	table := loadTable(t, size)
	for i := range uint32(4 * size) {
		f, _ := numbered(i)
		if err := table.Insert(f, ipq.Verdict(i%2), Limits{}); err != nil {
			t.Fatal(err)
		}
		if _, err := table.Lookup(f); err != nil { // at once
			t.Fatalf("flow %d: %v", i, err)
		}
	}
	there := map[ipq.Flow]Entry{}
	if err := table.Iterate(func(f ipq.Flow, e Entry) bool {
		there[f], there[f.Reverse()] = e, e
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if n := len(there) / 2; n > size || n < size/2 {
		t.Errorf("%d flows in a table for %d", n, size)
	}
	for i := range uint32(5 * size) {
		f, ip := numbered(i)
		want := "queue"
		if e, ok := there[f]; ok {
			want = e.Verdict.String()
			if i >= 4*size || e.Verdict != ipq.Verdict(i%2) {
				t.Fatalf("flow %d: %+v", i, e)
			}
		}
		if got := table.decision(t, ip); got != want {
			t.Fatalf("flow %d: %s, want %s", i, got, want)
		}
	}
	if err := table.Flush(); err != nil {
		t.Error(err)
	}
	if err := table.Iterate(func(f ipq.Flow, _ Entry) bool { t.Errorf("%v is left", f); return false }); err != nil {
		t.Error(err)
	}
}

// A million flows are each decided as they were settled, and none when their
// time is over.
func TestMillionFlows(t *testing.T) {
	const flows = 1_000_000
	table := loadTable(t, flows+flows/8)           // room for what the kernel keeps free for each CPU
	limits := Limits{Timeout: time.Hour, Idle: -1} // a slow machine takes half a minute for some packets
	for i := range uint32(flows) {
		f, _ := numbered(i)
		if err := table.Insert(f, ipq.Verdict(i%2), limits); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(7, 8))
	n, accepted := 0, 0
	if err := table.Iterate(func(f ipq.Flow, e Entry) bool {
		n++
		accepted += int(e.Verdict)
		return true
	}); err != nil || n != flows || accepted != flows/2 {
		t.Errorf("%d flows, %d of them accepted, %v", n, accepted, err)
	}
	const samples = 50_000
	for range samples {
		i := rng.Uint32N(flows + flows/2)
		want := ipq.Verdict(i % 2).String()
		if i >= flows {
			want = "queue"
		}
		if _, ip := numbered(i); table.decision(t, ip) != want {
			t.Fatalf("flow %d: %s, want %s", i, table.decision(t, ip), want)
		}
	}
	// Their hour is over.
	limits.Timeout = time.Nanosecond
	for i := range uint32(flows) {
		f, _ := numbered(i)
		if err := table.Insert(f, ipq.Verdict(i%2), limits); err != nil {
			t.Fatal(err)
		}
	}
	for end := table.clock.now() + tick; table.clock.now() < end; { // the kernel's clock ticks on
	}
	before := mustCount(t, table)
	for range samples {
		if _, ip := numbered(rng.Uint32N(flows)); table.decision(t, ip) != "queue" {
			t.Fatal("decided after its time")
		}
	}
	if got := mustCount(t, table).less(before); got != (Counters{Expired: samples}) {
		t.Errorf("%+v", got)
	}
	n = 0
	if err := table.Iterate(func(_ ipq.Flow, e Entry) bool {
		if n++; e.Live {
			t.Errorf("%+v lives", e)
		}
		return e.Live == false
	}); err != nil || n != flows {
		t.Errorf("%d flows, %v", n, err)
	}
}

// Settling a flow allocates nothing.
func TestSettlingAllocatesNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector empties pools")
	}
	table := loadTable(t, 1024)
	key, err := keyOf(udpFlow)
	if err != nil {
		t.Fatal(err)
	}
	i := uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		i++
		key.Lo.Addr[0] = i
		if err := table.put(&key, actionAccept, &Limits{}); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkInsert(b *testing.B) {
	table := loadTable(b, 1<<16)
	key, err := keyOf(udpFlow)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key.Lo.Addr[0] = uint32(i)
		if err := table.put(&key, actionAccept, &Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProgram tells what a packet costs in the programs: an operation is a
// test run of the kernel's, which has no netfilter around it.
func BenchmarkProgram(b *testing.B) {
	table := loadTable(b, 1<<16)
	v6 := ip6(protoUDP, ports(1, 2))
	v6Flow, _ := parsed(v6)
	for _, f := range []ipq.Flow{udpFlow, v6Flow} {
		if err := table.Insert(f, ipq.Accept, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		ip   []byte
		want uint32
	}{
		{"ip=4/flow=settled", ip4(protoUDP, 0, 0, ports(1, 2)), 1},
		{"ip=4/flow=unknown", ip4(protoUDP, 0, 0, ports(1, 3)), 0},
		{"ip=6/flow=settled", v6, 1},
		{"ip=6/flow=unknown", ip6(protoUDP, ports(1, 3)), 0},
	} {
		b.Run(tt.name, func(b *testing.B) {
			frame := append(make([]byte, 14), tt.ip...)
			binary.BigEndian.PutUint16(frame[12:], 0x88b5)
			ret, took, err := table.objects.accept.Benchmark(frame, b.N, b.ResetTimer)
			if err != nil || ret != tt.want {
				b.Fatal(ret, err)
			}
			b.ReportMetric(float64(took.Nanoseconds()), "ns/op")
		})
	}
}

var addr4 = netip.AddrFrom4([4]byte{192, 0, 2, 9})
