package ipq

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

func TestVerdictsReachTheKernel(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		verdicts := []Verdict{Drop, Accept, Repeat, Stop, Requeue(300),
			Accept.WithMark(0xfeed), Drop.WithMark(0), Requeue(9).WithMark(7), RequeueBypass(301)}
		q, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict { return verdicts[p.Mark()-1] })
		for i := range verdicts {
			f.queue(fakekernel.Packet{Mark: uint32(i + 1), Payload: udp4(uint16(i), nil)})
		}
		want := []uint32{0, 1, 4, 5, 300<<16 | 3, 1, 0, 9<<16 | 3, 301<<16 | 0x8000 | 3}
		marks := map[int]uint32{5: 0xfeed, 6: 0, 7: 7}
		for i := range verdicts {
			v := f.verdict(uint32(i + 1))
			if v.Verdict != want[i] {
				t.Errorf("%v: kernel got %#x, want %#x", verdicts[i], v.Verdict, want[i])
			}
			got, marked := v.Attrs[zerocopy.AttrMark]
			if mark, want := marks[i]; marked != want || marked && binary.BigEndian.Uint32(got) != mark {
				t.Errorf("%v: kernel got mark %x", verdicts[i], got)
			}
		}
		stop()
		f.check()
		s := q.Stats()
		if s.Accepted != 2 || s.Dropped != 2 || s.Repeated != 1 || s.Stopped != 1 || s.Requeued != 3 || s.Verdicts != 9 || s.Received != 9 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestUnknownVerdictIsDrop(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		bad := []Verdict{2, 6, 255, Verdict(2).WithMark(1), 3<<16 | 2} // NF_STOLEN among them
		q, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict { return bad[p.ID()-1] })
		for range bad {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		for i := range bad {
			if v := f.verdict(uint32(i + 1)); v.Verdict != 0 {
				t.Errorf("%v became %#x", bad[i], v.Verdict)
			}
		}
		stop()
		if s := q.Stats(); s.InvalidVerdicts != uint64(len(bad)) || s.Dropped != uint64(len(bad)) {
			t.Errorf("stats: %+v", s)
		}
	})
}

// The other attributes of a verdict.
func TestVerdictAttributes(t *testing.T) {
	f := newFake(t)
	_, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict {
		p.SetPriority(0x10002)
		p.SetVLAN(0x8100, 42)
		p.SetConnMark(0xa05, 0xff) // what is outside of the mask stays at home
		return Accept
	})
	v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
	vlan := fakekernel.Attr(fakekernel.Attr(nil, 2, []byte{0, 42}), 1, []byte{0x81, 0})
	ct := fakekernel.Attr(fakekernel.Attr(nil, 8, []byte{0, 0, 0, 5}), 21, []byte{0, 0, 0, 0xff})
	for typ, want := range map[uint16][]byte{
		zerocopy.AttrPriority: {0, 1, 0, 2}, zerocopy.AttrVLAN: vlan, zerocopy.AttrCT: ct,
	} {
		if !bytes.Equal(v.Attrs[typ], want) {
			t.Errorf("attribute %d: % x, want % x", typ, v.Attrs[typ], want)
		}
	}
	if len(v.Attrs) != 3 || v.Batch {
		t.Errorf("%+v", v)
	}
	stop()
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

// Every packet gets exactly one verdict, by the count of the sender, of the
// kernel and of the engine.
func TestEveryPacketGetsOneVerdict(t *testing.T) {
	t.Parallel()
	count := fewer(200_000)
	for _, mode := range modes {
		for _, ipv6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/ipv6=%v", mode.name, ipv6), func(t *testing.T) {
				ns := labtest.New(t)
				rules := echoRules(t, ns, 7, 1)
				after, err := ns.InstallCounter(netlab.Postrouting, 0, netlab.Match{EchoRequest: true})
				if err != nil {
					t.Fatal(err)
				}
				q, stop := serve(t, Config{Queue: 7, NetNS: ns.FD(), Workers: mode.workers}, HandlerFunc(func(p *Packet) Verdict {
					return Accept
				}))
				sent := runFlood(t, ns, flood.Config{IPv6: ipv6, Count: count, Window: 64})
				if err := stop(); err != nil {
					t.Fatal(err)
				}

				if sent.Sent != count || sent.Replies != count || sent.Lost+sent.Late+sent.Duplicates+sent.Dropped != 0 {
					t.Errorf("sender: %+v", sent)
				}
				for _, k := range []struct {
					what  string
					rules *netlab.Ruleset
				}{{"queueing", rules}, {"later", after}} {
					c, err := k.rules.Counters()
					if err != nil {
						t.Fatal(err)
					}
					if len(c) != 1 || c[0].Packets != count {
						t.Errorf("kernel's count in the %s chain: %+v, want %d packets", k.what, c, count)
					}
				}
				s := q.Stats()
				if s.Received != count || s.Verdicts != count || s.Accepted != count {
					t.Errorf("engine: received %d, verdicts %d, accepted %d, want %d each", s.Received, s.Verdicts, s.Accepted, count)
				}
				if s.KernelKnown && (s.Sequence != count || s.Waiting != 0 || s.QueueDropped+s.SocketDropped != 0) {
					t.Errorf("kernel's queue: %+v", s)
				}
				if s.UnknownVerdicts+s.RefusedVerdicts+s.InvalidVerdicts+s.Undecodable+s.WriteRetries != 0 {
					t.Errorf("engine met trouble: %+v", s)
				}
			})
		}
	}
}

// The real ping loses nothing. It goes on until it has its answers (-w), so that
// a busy machine, which is late, has it send more.
func TestKernelPing(t *testing.T) {
	t.Parallel()
	ping := labtest.Program(t, "ping") // Debian's iputils-ping
	const requests = 100
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		echoRules(t, ns, fakeNumber, 1)
		arrived, err := ns.InstallCounter(netlab.Input, 0, netlab.Match{EchoRequest: true})
		if err != nil {
			t.Fatal(err)
		}
		q, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers}, accept)
		for _, to := range []string{"127.0.0.1", "::1"} {
			var out []byte
			err := ns.Do(func() (err error) {
				out, err = exec.Command(ping, "-n", "-c", strconv.Itoa(requests), "-i", "0.002", "-w", "60", to).CombinedOutput()
				return err
			})
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for seq := 1; seq <= requests; seq++ {
				if n := strings.Count(string(out), fmt.Sprintf(" icmp_seq=%d ", seq)); n != 1 {
					t.Errorf("request %d was answered %d times\n%s", seq, n, out)
				}
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		s := q.Stats()
		if s.Accepted < 2*requests || s.Accepted != s.Received {
			t.Errorf("stats: %+v", s)
		}
		if c, err := arrived.Counters(); err != nil || c[0].Packets != s.Accepted {
			t.Errorf("%+v arrived, %v; want %d", c, err, s.Accepted)
		}
	})
}

// A packet that is passed on to a queue without a listener is lost, or goes on.
func TestKernelRequeueWithoutListener(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		u := newUDPPath(t, ns, "127.0.0.1")
		q, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers}, HandlerFunc(func(p *Packet) Verdict {
			if string(p.Payload()[28:]) == "requeue" {
				return Requeue(8)
			}
			return RequeueBypass(8)
		}))
		u.send("requeue")
		u.send("requeue or pass")
		if got := u.receive(); got != "requeue or pass" {
			t.Errorf("%q arrived", got)
		}
		other := make(chan string, 2)
		serve(t, Config{Queue: 8, NetNS: ns.FD(), Workers: workers}, HandlerFunc(func(p *Packet) Verdict {
			other <- string(p.Payload()[28:])
			return Accept
		}))
		for _, text := range []string{"requeue", "requeue or pass"} {
			u.send(text)
			if got := u.receive(); got != text || <-other != text {
				t.Errorf("%q arrived, want %q, by the other queue", got, text)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if s := q.Stats(); s.Requeued != 4 || s.Accepted+s.Dropped+s.RefusedVerdicts+s.UnknownVerdicts+s.InvalidVerdicts != 0 {
			t.Errorf("%+v", s)
		}
	})
}
