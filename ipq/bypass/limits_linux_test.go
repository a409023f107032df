package bypass

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

var (
	tcpFlow = ipq.Flow{Src: addr4, Dst: netip.AddrFrom4([4]byte{192, 0, 2, 1}), SrcPort: 12345, DstPort: 80, Protocol: protoTCP}
	udpFlow = ipq.Flow{Src: addr4, Dst: netip.AddrFrom4([4]byte{192, 0, 2, 1}), SrcPort: 1, DstPort: 2, Protocol: protoUDP}
)

// insertState settles a flow with a state as it would be after some time.
func insertState(t testing.TB, table *Table, f ipq.Flow, change func(s *kernelFlowState, now uint64)) {
	t.Helper()
	key, err := keyOf(f)
	if err != nil {
		t.Fatal(err)
	}
	now := table.clock.now()
	s := Limits{}.state(&key, actionAccept, now)
	change(&s, now)
	if err := table.objects.flows.Put(&key, &s); err != nil {
		t.Fatal(err)
	}
}

// tick is longer than one of any kernel's clock, of which there are 100 a
// second or more.
const tick = uint64(20 * time.Millisecond)

// Past each of its limits a flow is queued, and its entry says so.
func TestLimits(t *testing.T) {
	table := loadTable(t, 64)
	udp := ip4(protoUDP, 0, 0, ports(1, 2))
	for _, tt := range []struct {
		name   string
		change func(s *kernelFlowState, now uint64)
		want   Counters
	}{
		{"within", func(s *kernelFlowState, now uint64) { s.Deadline = now + uint64(time.Hour) },
			Counters{AcceptedPackets: 1, AcceptedBytes: uint64(len(udp))}},
		{"deadline", func(s *kernelFlowState, now uint64) { s.Deadline = now - tick }, Counters{Expired: 1}},
		{"idle", func(s *kernelFlowState, now uint64) { s.LastSeen = now - tick - s.Idle }, Counters{Expired: 1}},
		{"seen a moment ahead", func(s *kernelFlowState, now uint64) { s.LastSeen = now + tick },
			Counters{AcceptedPackets: 1, AcceptedBytes: uint64(len(udp))}},
		{"packets", func(s *kernelFlowState, _ uint64) { s.MaxPackets, s.Packets = 3, 3 }, Counters{Spent: 1}},
		{"bytes", func(s *kernelFlowState, _ uint64) { s.MaxBytes, s.Bytes = 99, 100 }, Counters{Spent: 1}},
		// As the kernel leaves it for whoever found the entry just before.
		{"another flow's now", func(s *kernelFlowState, _ uint64) { s.Key.Ports++ }, Counters{}},
	} {
		before := mustCount(t, table)
		insertState(t, table, udpFlow, tt.change)
		want, live := "queue", tt.want.AcceptedPackets == 1
		if live {
			want = "accept"
		}
		if e, err := table.Lookup(udpFlow); e.Live != live || err != nil && err != ErrNotFound {
			t.Errorf("%s: %+v, %v, want live %v", tt.name, e, err, live)
		}
		if got := table.decision(t, udp); got != want {
			t.Errorf("%s: %s, want %s", tt.name, got, want)
		}
		if got := mustCount(t, table).less(before); got != tt.want {
			t.Errorf("%s: counted %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// A budget lets through exactly as many packets, and settling anew as many
// again.
func TestBudgets(t *testing.T) {
	table := loadTable(t, 64)
	udp := ip4(protoUDP, 0, 0, ports(1, 2))
	for _, l := range []Limits{{MaxPackets: 5}, {MaxBytes: uint64(4*len(udp) + 1)}} {
		for range 2 {
			if err := table.Insert(udpFlow, ipq.Accept, l); err != nil {
				t.Fatal(err)
			}
			for i := range 8 {
				want := "accept"
				if i >= 5 {
					want = "queue"
				}
				if got := table.decision(t, udp); got != want {
					t.Errorf("%+v: packet %d: %s, want %s", l, i, got, want)
				}
			}
			if e, err := table.Lookup(udpFlow); err != nil || e.Live || e.Packets != 5 || e.Bytes != uint64(5*len(udp)) {
				t.Errorf("%+v: %+v, %v", l, e, err)
			}
		}
	}
}

// The kernel itself ends a flow at its deadline, to within a tick.
func TestKernelTimeEndsFlows(t *testing.T) {
	table := loadTable(t, 64)
	udp := ip4(protoUDP, 0, 0, ports(1, 2))
	const timeout = 50 * time.Millisecond
	began := time.Now()
	if err := table.Insert(udpFlow, ipq.Accept, Limits{Timeout: timeout}); err != nil {
		t.Fatal(err)
	}
	for table.decision(t, udp) == "accept" {
		if time.Since(began) > patience {
			t.Fatal("never ends")
		}
	}
	if took := time.Since(began); took < timeout-time.Duration(tick) {
		t.Errorf("ended after %v, before %v", took, timeout)
	}
	// The ports are used again, and what uses them is looked at.
	if c := mustCount(t, table); c.Expired != 1 {
		t.Errorf("%+v", c)
	}
}

// What uses a flow's ports when a limit is over is queued and looked at, once for
// each time that it is settled.
func TestFlowsAreQueuedAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits Limits
		every  uint64 // how many packets are queued: one of so many, if it can be told
	}{
		{"packets", Limits{MaxPackets: 4}, 5},
		{"bytes", Limits{MaxBytes: 4 * (20 + 8 + 5)}, 5},
		{"timeout", Limits{Timeout: 30 * time.Millisecond}, 0},
		{"idle", Limits{Idle: time.Nanosecond}, 0}, // a tick
		{"none", Limits{Timeout: -1, Idle: -1}, 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := labtest.New(t)
			b := newBypasser(t, ns, Config{Backend: EBPF, Limits: tt.limits})
			install(t, b, Rules{Hook: ipq.Output, Match: udp})
			q, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() }))
			p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
			sent := uint64(0)
			for began := time.Now(); sent < 30 || tt.every == 0 && q.Stats().Received < 3; sent++ {
				if send(t, p.a, p.b, "hello"); receive(t, p.b) != "hello" {
					t.Fatal("not what was sent")
				}
				if time.Since(began) > patience {
					t.Fatal("it stays settled")
				}
			}
			stop()
			s, c := q.Stats(), mustCount(t, b.Table())
			if c.AcceptedPackets+s.Received != sent || s.Bypassed != s.Received || c.Expired+c.Spent+1 != s.Received {
				t.Errorf("sent %d, queued %d, bypassed %d: %+v", sent, s.Received, s.Bypassed, c)
			}
			if tt.every != 0 && s.Received != sent/tt.every {
				t.Errorf("of %d packets %d were queued, want one of %d", sent, s.Received, tt.every)
			}
		})
	}
}

// Each packet that was queued before its flow was settled, and settles it anew,
// renews the budget.
func TestWaitingPacketsRenewTheBudget(t *testing.T) {
	ns := labtest.New(t)
	b := newBypasser(t, ns, Config{Backend: EBPF, Limits: Limits{MaxPackets: 1}})
	rules := install(t, b, Rules{Hook: ipq.Output, Match: udp})
	came, decide := make(chan struct{}), make(chan struct{})
	_, stop := serve(t, ns, b, ipq.Config{Workers: ipq.Inline}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict {
		came <- struct{}{}
		<-decide
		return ipq.Accept.Bypass()
	}))
	p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
	const waiting = 3
	for range waiting {
		send(t, p.a, p.b, "waits")
	}
	want := func(accepted, queued uint64) {
		t.Helper()
		if c, err := rules.Counters(); err != nil || c.Accepted.Packets != accepted || c.Queued.Packets != queued {
			t.Errorf("%+v, %v; want %d accepted, %d queued", c, err, accepted, queued)
		}
	}
	for i := range uint64(waiting) {
		<-came
		if i > 0 { // settled by the one before, for one packet
			send(t, p.a, p.b, "within the budget")
		}
		want(i, waiting)
		decide <- struct{}{}
	}
	for range waiting + waiting - 1 {
		receive(t, p.b)
	}
	send(t, p.a, p.b, "within the budget")
	want(waiting, waiting)
	send(t, p.a, p.b, "beyond it")
	want(waiting, waiting+1)
	<-came
	decide <- struct{}{}
	stop()
}

// A TCP connection that is opened on the ports of an accepted one is looked at,
// from its SYN on. What retries a dropped one is dropped.
func TestNewConnectionsOnOldPorts(t *testing.T) {
	table := loadTable(t, 64)
	syn, synAck, data := ip4(6, 0, 0, tcp(0x02)), ip4(6, 0, 0, tcp(0x12)), ip4(6, 0, 0, tcp(0x18))
	check := func(ip []byte, want string) {
		t.Helper()
		if got := table.decision(t, ip); got != want {
			t.Errorf("flags %#x: %s, want %s", ip[20+tcpFlags], got, want)
		}
	}
	for _, v := range []ipq.Verdict{ipq.Accept, ipq.Drop} {
		if err := table.Insert(tcpFlow, v, Limits{}); err != nil {
			t.Fatal(err)
		}
		check(synAck, v.String())
		check(data, v.String())
		if v == ipq.Drop {
			check(syn, "drop")
			check(data, "drop")
			continue
		}
		check(syn, "queue")
		check(data, "queue")
		if e, err := table.Lookup(tcpFlow); err != nil || e.Live {
			t.Errorf("%+v, %v", e, err)
		}
	}
	if c := mustCount(t, table); c.Reopened != 1 {
		t.Errorf("%+v", c)
	}
}

func TestInsertRefuses(t *testing.T) {
	table := loadTable(t, 64)
	for _, tt := range []struct {
		f    ipq.Flow
		v    ipq.Verdict
		want error
	}{
		{ipq.Flow{}, ipq.Accept, ErrFlow},
		{ipq.Flow{Src: addr4, Dst: addr4, Protocol: protoUDP, Fragment: true}, ipq.Accept, ErrFlow},
		{ipq.Flow{Src: addr4, Dst: addr4, Protocol: 47, Unknown: true}, ipq.Accept, ErrFlow},
		{ipq.Flow{Src: addr4, Dst: addr4, Protocol: protoUDP}, ipq.Accept, ErrFlow},
		{ipq.Flow{Src: addr4, Dst: otherVersion(addr4), Protocol: 47}, ipq.Accept, ErrFlow},
		{ipq.Flow{Src: addr4, Dst: addr4, Protocol: protoICMP, SrcPort: 1}, ipq.Accept, ErrFlow},
		{ipq.Flow{Src: addr4, Dst: addr4, Protocol: 44}, ipq.Accept, ErrFlow},
		{udpFlow, ipq.Repeat, ErrVerdict},
		{udpFlow, ipq.Requeue(1), ErrVerdict},
		{udpFlow, ipq.Accept.WithMark(1), ErrMarked},
	} {
		if err := table.Insert(tt.f, tt.v, Limits{}); !errors.Is(err, tt.want) {
			t.Errorf("%v, %v: %v, want %v", tt.f, tt.v, err, tt.want)
		}
	}
	if err := table.Iterate(func(f ipq.Flow, e Entry) bool {
		t.Errorf("%v: %+v", f, e)
		return true
	}); err != nil {
		t.Error(err)
	}
}

func mustCount(t testing.TB, table *Table) Counters {
	t.Helper()
	c, err := table.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c Counters) less(b Counters) Counters {
	return Counters{
		c.AcceptedPackets - b.AcceptedPackets, c.AcceptedBytes - b.AcceptedBytes,
		c.DroppedPackets - b.DroppedPackets, c.DroppedBytes - b.DroppedBytes,
		c.Expired - b.Expired, c.Spent - b.Spent, c.Reopened - b.Reopened, c.Suspended - b.Suspended,
	}
}
