package ipq

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// A new payload, longer or shorter, passes the receiver's checksum test.
func TestKernelRewritesPayloads(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for _, loopback := range []string{"127.0.0.1", "::1"} {
			ns := labtest.New(t)
			u := newUDPPath(t, ns, loopback)
			header := 28
			if loopback == "::1" {
				header = 48
			}
			_, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers}, HandlerFunc(func(p *Packet) Verdict {
				h, text, _ := bytes.Cut(p.Payload()[header:], []byte(" "))
				var err error
				switch string(h) {
				case "shorter":
					err = p.SetPayload(p.Payload()[:len(p.Payload())-len(text)])
				case "longer":
					err = p.SetPayload(append(bytes.Clone(p.Payload()), bytes.Repeat([]byte("+"), 30000)...))
				case "odd":
					err = p.SetPayload(append(bytes.Clone(p.Payload()), '!'))
				case "edit":
					var b []byte
					if b, err = p.EditPayload(); err == nil {
						copy(b[header:], "EDIT")
					}
				}
				if err != nil {
					t.Errorf("%s: %v", h, err)
				}
				return Accept
			}))
			for _, x := range [][2]string{
				{"longer and longer", "longer and longer" + strings.Repeat("+", 30000)},
				{"shorter and shorter", "shorter "}, {"odd one", "odd one!"}, {"edit me", "EDIT me"}, {"leave me", "leave me"},
			} {
				u.send(x[0])
				if got := u.receive(); got != x[1] {
					t.Errorf("%s, %q: arrived as %.40q (%d bytes)", loopback, x[0], got, len(got))
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Marks are seen by later rules; Repeat comes by again with its mark; Requeue
// arrives at the other queue; Stop skips the hook's later chains; Drop drops.
func TestKernelActsOnVerdicts(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		u := newUDPPath(t, ns, "127.0.0.1", netlab.Rule{Hook: netlab.Output, Queue: fakeNumber, Match: netlab.Match{NotMark: 77}})
		udp := netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: udpPort}
		marked, repeated := udp, udp
		marked.Mark, repeated.Mark = 5, 77
		later, err := ns.InstallCounter(netlab.Output, 100, udp, marked, repeated)
		if err != nil {
			t.Fatal(err)
		}
		other := make(chan string, 1)
		serve(t, Config{Queue: 8, NetNS: ns.FD(), Workers: workers}, HandlerFunc(func(p *Packet) Verdict {
			other <- string(p.Payload()[28:])
			return Accept
		}))
		var repeats atomic.Int32
		q, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers}, HandlerFunc(func(p *Packet) Verdict {
			switch string(p.Payload()[28:]) {
			case "mark":
				return Accept.WithMark(5)
			case "repeat":
				repeats.Add(1)
				return Repeat.WithMark(77)
			case "requeue":
				return Requeue(8)
			case "stop":
				return Stop
			case "drop":
				return Drop
			}
			return Accept
		}))
		count := func() (all, five, seventySeven uint64) {
			c, err := later.Counters()
			if err != nil {
				t.Fatal(err)
			}
			return c[0].Packets, c[1].Packets, c[2].Packets
		}
		var wantAll, wantFive, wantRepeat uint64
		for _, text := range []string{"accept", "mark", "repeat", "requeue", "stop", "drop", "accept"} {
			u.send(text)
			if text == "drop" {
				continue // the next to arrive is the one behind it
			}
			if got := u.receive(); got != text {
				t.Fatalf("%q arrived, want %q", got, text)
			}
			switch text {
			case "mark":
				wantFive++
			case "repeat":
				wantRepeat++
			case "requeue":
				if got := <-other; got != text {
					t.Errorf("the other queue got %q", got)
				}
			}
			if text != "stop" {
				wantAll++
			}
			if all, five, seventySeven := count(); all != wantAll || five != wantFive || seventySeven != wantRepeat {
				t.Errorf("after %q the later chain has seen %d, %d marked 5, %d marked 77; want %d, %d, %d",
					text, all, five, seventySeven, wantAll, wantFive, wantRepeat)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := repeats.Load(); n != 1 {
			t.Errorf("the repeated packet was handled %d times", n)
		}
		if s := q.Stats(); s.RefusedVerdicts+s.UnknownVerdicts != 0 || s.Dropped != 1 || s.Stopped != 1 || s.Requeued != 1 || s.Repeated != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// What the kernel tells of a packet.
func TestKernelAttributes(t *testing.T) {
	ns := labtest.New(t)
	u := newUDPPath(t, ns, "127.0.0.1",
		netlab.Rule{Hook: netlab.Output, Queue: fakeNumber}, netlab.Rule{Hook: netlab.Input, Queue: fakeNumber})
	from := u.from.LocalAddr().(*net.UDPAddr)
	_, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline, UIDGID: true, SnapLen: 32}, HandlerFunc(func(p *Packet) Verdict {
		flow := p.Flow()
		check := func(what string, got, want any) {
			if got != want {
				t.Errorf("%v %s: %v, want %v", p.Hook(), what, got, want)
			}
		}
		check("flow", fmt.Sprint(flow), fmt.Sprintf("udp 127.0.0.1:%d > 127.0.0.1:%d", from.Port, udpPort))
		check("protocol", p.EtherType(), uint16(0x0800))
		check("family", p.Family(), uint8(unix.AF_INET))
		check("queue", p.Queue(), uint16(fakeNumber))
		check("length", p.Len(), 28+40)
		check("truncated", p.Truncated(), true)
		check("copied", len(p.Payload()), 32)
		check("GSO", p.GSO(), false)
		uid, ok := p.UID()
		in, out := p.InterfaceName(p.InDev()), p.InterfaceName(p.OutDev())
		switch p.Hook() {
		case Output:
			check("ID", p.ID(), uint32(1))
			check("in", in, "")
			check("out", out, "lo")
			check("uid", uid, initialUID(t))
			check("uid known", ok, true)
			check("timestamp", p.Timestamp().IsZero(), true)
		case Input:
			check("ID", p.ID(), uint32(2))
			check("in", in, "lo")
			check("out", out, "")
			check("hardware address", p.HardwareAddr().String(), "00:00:00:00:00:00")
		default:
			t.Errorf("hook %v", p.Hook())
		}
		check("no interface", p.InterfaceName(4242), "")
		check("editing", errors.Is(p.SetPayload(p.Payload()), ErrTruncated), true)
		return Accept
	}))
	u.send(strings.Repeat("x", 40))
	u.receive()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// initialUID returns this process's user id in the initial user namespace, or
// as near to it as a parent's.
func initialUID(t *testing.T) (uid uint32) {
	t.Helper()
	m, err := os.ReadFile("/proc/self/uid_map") // first id here, first id there, how many
	if err != nil {
		t.Fatal(err)
	}
	var here, there uint32
	if _, err := fmt.Sscan(string(m), &here, &there); err != nil {
		t.Fatal(err)
	}
	return uint32(os.Getuid()) - here + there
}

// Two queues with the kernel's fan-out by CPU, each with a pinned loop.
func TestKernelSpreadsOverQueues(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		var cpus unix.CPUSet
		if err := unix.SchedGetaffinity(0, &cpus); err != nil {
			t.Fatal(err)
		}
		cfg := Config{Queue: 100, Queues: 2, Workers: workers, PinCPU: true, BusyPoll: 50_000}
		if cpus.Count() < cfg.Queues {
			if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "PinCPU") {
				t.Errorf("more queues than CPUs: %v", err)
			}
			cfg.PinCPU = false
		}
		ns := labtest.New(t)
		cfg.NetNS = ns.FD()
		if _, err := ns.InstallQueue(netlab.Rule{
			Hook: netlab.Output, Match: netlab.Match{EchoRequest: true}, Queue: 100, Queues: 2, FanoutCPU: true,
		}); err != nil {
			t.Fatal(err)
		}
		var seen [2]atomic.Uint64
		q, stop := serve(t, cfg, HandlerFunc(func(p *Packet) Verdict {
			seen[p.Queue()-100].Add(1)
			return Accept
		}))
		each := fewer(20_000)
		for cpu := range 2 {
			fl := flood.Config{Count: each, Window: 32}
			if cpus.IsSet(cpu) {
				fl.CPUs = []int{cpu}
			}
			if s := runFlood(t, ns, fl); s.Replies != each || s.Lost+s.Duplicates != 0 {
				t.Errorf("flood from CPU %d: %+v", cpu, s)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if s := q.Stats(); s.Verdicts != 2*each || s.Received != 2*each {
			t.Errorf("stats: %+v", s)
		}
		if cfg.PinCPU && (seen[0].Load() != each || seen[1].Load() != each) {
			t.Errorf("queues got %d and %d packets, want %d each", seen[0].Load(), seen[1].Load(), each)
		}
	})
}

// TCP over loopback with GSO comes as super-packets, checksums not filled in,
// and goes on unharmed.
func TestKernelGSO(t *testing.T) {
	for _, gso := range []bool{false, true} {
		ns := labtest.New(t)
		if err := ns.SetMTU("lo", 1500); err != nil {
			t.Fatal(err)
		}
		if _, err := ns.InstallQueue(netlab.Rule{
			Hook: netlab.Output, Match: netlab.Match{L4Proto: unix.IPPROTO_TCP}, Queue: fakeNumber,
		}); err != nil {
			t.Fatal(err)
		}
		var super atomic.Uint64
		_, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), GSO: gso}, HandlerFunc(func(p *Packet) Verdict {
			if p.GSO() {
				super.Add(1)
				if p.Len() <= 1500 || p.ChecksumReady() {
					t.Errorf("super-packet of %d bytes, checksum ready: %v", p.Len(), p.ChecksumReady())
				}
			} else if p.Len() > 1500 {
				t.Errorf("packet of %d bytes", p.Len())
			}
			return Accept
		}))
		want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
		if got := overTCP(t, ns, want); !bytes.Equal(got, want) {
			t.Errorf("GSO %v: %d bytes arrived, want %d, or they differ", gso, len(got), len(want))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := super.Load(); (n > 0) != gso {
			t.Errorf("GSO %v: %d super-packets", gso, n)
		}
	}
}
