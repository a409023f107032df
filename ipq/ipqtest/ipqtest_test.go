package ipqtest_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/ipqtest"
)

// udp returns a UDP packet to a port, with right sums.
func udp(port uint16, data string) []byte {
	b := make([]byte, 28, 28+len(data))
	b[0], b[8], b[9] = 0x45, 64, 17
	copy(b[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(b[20:], 1000)
	binary.BigEndian.PutUint16(b[22:], port)
	b = append(b, data...)
	if err := zerocopy.FixPacket(b); err != nil {
		panic(err)
	}
	return b
}

// What an option says the handler sees, and what the handler does the result says.
func TestSend(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{ipq.Inline, 2} {
		q := ipqtest.New(t, ipq.Config{Queue: 9, Workers: workers})
		q.Run(ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
			if p.Queue() != 9 || p.Hook() != ipq.Forward || p.Mark() != 5 || p.InterfaceName(p.InDev()) != "eth0" || p.InterfaceName(p.OutDev()) != "eth1" {
				t.Errorf("queue %d, hook %v, mark %d, from %q to %q", p.Queue(), p.Hook(), p.Mark(), p.InterfaceName(p.InDev()), p.InterfaceName(p.OutDev()))
			}
			if uid, ok := p.UID(); !ok || uid != 1000 {
				t.Errorf("user %d, %v", uid, ok)
			}
			switch p.Flow().DstPort {
			case 1:
				return ipq.Drop
			case 2:
				b, err := p.EditPayload()
				if err != nil {
					t.Error(err)
				}
				b[len(b)-1] ^= 0xff
				p.SetPriority(7)
				if err := p.SetConnMark(3, 0xf); err != nil {
					t.Error(err)
				}
				if err := p.SetConnLabels([16]byte{1}, [16]byte{3}); err != nil {
					t.Error(err)
				}
			case 3:
				return ipq.Requeue(4)
			case 4:
				return ipq.Reject
			case 5:
				return ipq.RequeueBypass(4)
			}
			return ipq.Accept.WithMark(6)
		}))
		send := func(port uint16) ipqtest.Result {
			return q.Send(udp(port, "text"), ipqtest.Hook(ipq.Forward), ipqtest.Mark(5), ipqtest.InDev("eth0"), ipqtest.OutDev("eth1"), ipqtest.UID(1000))
		}
		if r := send(1); r.Verdict != ipq.Drop || r.Payload != nil || r.Edited {
			t.Errorf("dropped: %+v", r)
		}
		want := udp(2, "tex"+string([]byte{'t' ^ 0xff}))
		if r := send(2); r.Verdict != ipq.Accept.WithMark(6) || !r.Edited || !bytes.Equal(r.Payload, want) ||
			r.Priority == nil || *r.Priority != 7 || r.ConnMark == nil || *r.ConnMark != 3 || *r.ConnMask != 0xf ||
			r.ConnLabels == nil || *r.ConnLabels != [16]byte{1} || *r.ConnLabelsMask != [16]byte{3} {
			t.Errorf("edited: %+v, want % x", r, want)
		}
		if r := send(3); r.Verdict != ipq.Requeue(4) || r.Edited || !bytes.Equal(r.Payload, udp(3, "text")) {
			t.Errorf("passed on: %+v", r)
		}
		if r := send(4); r.Verdict != ipq.Drop || r.Payload != nil {
			t.Errorf("rejected: %+v", r)
		}
		if r := send(5); r.Verdict != ipq.RequeueBypass(4) || !bytes.Equal(r.Payload, udp(5, "text")) {
			t.Errorf("passed on, if anybody listens: %+v", r)
		}
		if s := q.Stop(); s.Received != 5 || s.Dropped != 2 || s.Modified != 1 || s.Rejects != (ipq.Rejects{Prohibitions: 1}) {
			t.Errorf("%+v", s.Counts)
		}
	}
}

// Many packets are sent at once, and each has its own result.
func TestSendAll(t *testing.T) {
	t.Parallel()
	var packets [][]byte
	for i := range 10000 {
		packets = append(packets, udp(uint16(i), ""))
	}
	for _, length := range []int{20, 60000} { // less, and more, than the socket holds
		q := ipqtest.New(t, ipq.Config{Workers: 3, MaxQueueLen: length})
		q.Run(ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict { return ipq.Accept.WithMark(uint32(p.Flow().DstPort)) }))
		for i, r := range q.SendAll(packets) {
			if r.Verdict != ipq.Accept.WithMark(uint32(i)) || r.NotQueued {
				t.Fatalf("packet %d: %+v", i, r)
			}
		}
	}
}

// Faults are the kernel's own, and the engine lives with them.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{false, true} {
		q := ipqtest.New(t, ipq.Config{Workers: ipq.Inline, FailOpen: open})
		q.Run(ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Stop }))
		q.Fault(ipqtest.QueueFull)
		if r := q.Send(udp(1, "")); !r.NotQueued || (r.Verdict == ipq.Accept) != open || (r.Payload != nil) != open {
			t.Errorf("fail open %v, queue full: %+v", open, r)
		}
		for _, f := range []ipqtest.Fault{ipqtest.Overrun, ipqtest.NoMemory, ipqtest.Refusal} {
			q.Fault(f)
			q.Send(udp(1, ""))
		}
		if r := q.Send(udp(1, "")); r.Verdict != ipq.Stop {
			t.Errorf("after faults: %+v", r)
		}
		if s := q.Stop(); s.Overruns != 1 || s.ReadRetries != 1 || s.WriteRetries != 1 || s.RefusedVerdicts != 1 {
			t.Errorf("%+v", s.Counts)
		}
	}
	q := ipqtest.New(t, ipq.Config{Workers: ipq.Inline})
	q.Run(ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict {
		q.Fault(ipqtest.Unbound)
		return ipq.Accept
	}))
	q.Send(udp(1, ""))
}

// Handlers that are replaced, deferrals and panics are the real ones.
func TestEngine(t *testing.T) {
	t.Parallel()
	q := ipqtest.New(t, ipq.Config{Workers: 2, BeforeHandler: ipq.Always(ipq.Repeat), DeferTimeout: time.Millisecond})
	q.Run(nil)
	if r := q.Send(udp(1, "")); r.Verdict != ipq.Repeat {
		t.Errorf("without a handler: %+v", r)
	}
	var calls atomic.Int32
	if err := q.SetHandler(ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		switch calls.Add(1) {
		case 1:
			panic("on purpose")
		case 2:
			if _, err := p.Defer(); err != nil {
				t.Error(err)
			}
			return ipq.Requeue(3)
		}
		return ipq.Accept
	})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []ipq.Verdict{ipq.Drop, ipq.Requeue(3), ipq.Accept} {
		if r := q.Send(udp(1, "")); r.Verdict != want {
			t.Errorf("%v, want %v", r.Verdict, want)
		}
	}
}

// A packet by itself is what a handler gets.
func TestPacket(t *testing.T) {
	p := ipqtest.Packet(udp(7, "text"), ipqtest.Hook(ipq.Output), ipqtest.InDev("a"), ipqtest.OutDev("b"), ipqtest.GID(5))
	if f := p.Flow(); f.DstPort != 7 || p.Hook() != ipq.Output || p.InterfaceName(p.OutDev()) != "b" || p.InterfaceName(p.InDev()) != "a" {
		t.Errorf("%v at %v, %q to %q", f, p.Hook(), p.InterfaceName(p.InDev()), p.InterfaceName(p.OutDev()))
	}
	long := udp(8, strings.Repeat("x", 1000))
	if err := p.SetPayload(long); err != nil || !bytes.Equal(p.Payload(), long) || p.Flow().DstPort != 8 {
		t.Errorf("edited: %v, %d bytes", err, len(p.Payload()))
	}
	if _, err := p.Defer(); err == nil {
		t.Error("it can be deferred")
	}
}

// Captures are replayed, from every link layer, and what passed is written.
func TestReplay(t *testing.T) {
	t.Parallel()
	vlan := append([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x81, 0, 0, 5, 8, 0}, udp(2, "vlan")...)
	frame := append([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 8, 0}, udp(1, "")...)
	padded := append(bytes.Clone(frame), make([]byte, 18)...)
	arp := append([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 8, 6}, make([]byte, 28)...)
	dir := t.TempDir()
	write := func(name string, ng bool, link layers.LinkType, frames ...[]byte) string {
		name = filepath.Join(dir, name)
		var b bytes.Buffer
		var w interface {
			WritePacket(gopacket.CaptureInfo, []byte) error
		}
		flush := func() error { return nil }
		if ng {
			n, err := pcapgo.NewNgWriter(&b, link)
			if err != nil {
				t.Fatal(err)
			}
			w, flush = n, n.Flush
		} else {
			p := pcapgo.NewWriter(&b)
			if err := p.WriteFileHeader(1<<16, link); err != nil {
				t.Fatal(err)
			}
			w = p
		}
		for i, f := range frames {
			info := gopacket.CaptureInfo{Timestamp: time.Unix(int64(i), 0), CaptureLength: len(f), Length: len(f)}
			if err := w.WritePacket(info, f); err != nil {
				t.Fatal(err)
			}
		}
		if err := flush(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	q := ipqtest.New(t, ipq.Config{Workers: 2})
	q.Run(ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		if p.Flow().DstPort == 2 {
			return ipq.Drop
		}
		return ipq.Accept
	}))
	for _, name := range []string{
		write("ethernet.pcap", false, layers.LinkTypeEthernet, frame, arp, vlan, padded),
		write("ethernet.pcapng", true, layers.LinkTypeEthernet, frame, arp, vlan, padded),
		write("raw.pcap", false, layers.LinkTypeRaw, udp(1, ""), udp(2, ""), udp(1, "")),
	} {
		results := q.Replay(name)
		passed := ipqtest.Passed(results)
		if len(results) != 3 || len(passed) != 2 || !bytes.Equal(passed[0], udp(1, "")) || !bytes.Equal(passed[1], udp(1, "")) {
			t.Errorf("%s: %d results, %x passed", name, len(results), passed)
		}
		out := name + ".out"
		if err := ipqtest.Save(out, passed); err != nil {
			t.Fatal(err)
		}
		if again := q.Replay(out); len(again) != 2 || !bytes.Equal(again[1].Payload, passed[1]) {
			t.Errorf("%s: what was saved is %+v", name, again)
		}
	}
}

// BenchmarkReplay replays packets of 100 bytes, as a capture of 100 MB has them, and
// reports packets a second.
func BenchmarkReplay(b *testing.B) {
	const packets = 1 << 20
	one := udp(1, strings.Repeat("x", 72))
	all := make([][]byte, packets)
	for i := range all {
		all[i] = bytes.Clone(one)
		binary.BigEndian.PutUint16(all[i][20:], uint16(i%1000))
	}
	name := filepath.Join(b.TempDir(), "replay.pcap")
	if err := ipqtest.Save(name, all); err != nil {
		b.Fatal(err)
	}
	all = nil
	for mode, workers := range map[string]int{"inline": ipq.Inline, "pool": 2} {
		b.Run("mode="+mode, func(b *testing.B) {
			q := ipqtest.New(b, ipq.Config{Workers: workers, MaxQueueLen: 4096})
			q.Run(ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict { return ipq.Accept }))
			for b.Loop() {
				if n := len(q.Replay(name)); n != packets {
					b.Fatalf("%d packets", n)
				}
			}
			b.ReportMetric(packets*float64(b.N)/b.Elapsed().Seconds(), "packets/s")
		})
	}
}
