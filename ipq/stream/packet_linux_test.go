package stream_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/ipqtest"
	"github.com/goipq/goipq/ipq/stream"
)

const (
	fin = zerocopy.TCPFin
	syn = zerocopy.TCPSyn
	rst = zerocopy.TCPRst
	ack = zerocopy.TCPAck
	urg = zerocopy.TCPUrg
)

// A talk is a connection in IP packets.
type talk struct {
	v6      bool
	seq     [2]uint32 // of the client and of the server
	options []byte    // of the next segment
}

// packet returns a packet of the client, or of the server, that is next in order.
func (k *talk) packet(server bool, flags uint8, data string) []byte {
	i := 0
	if server {
		i = 1
	}
	h := make([]byte, 20, 60+len(data))
	binary.BigEndian.PutUint16(h, 40000)
	binary.BigEndian.PutUint16(h[2:], 80)
	if server {
		binary.BigEndian.PutUint16(h, 80)
		binary.BigEndian.PutUint16(h[2:], 40000)
	}
	binary.BigEndian.PutUint32(h[4:], k.seq[i])
	if flags&ack != 0 {
		binary.BigEndian.PutUint32(h[8:], k.seq[1-i])
	}
	h[12], h[13] = byte(5+len(k.options)/4)<<4, flags
	binary.BigEndian.PutUint16(h[14:], 65535)
	h = append(append(h, k.options...), data...)
	k.options = nil
	k.seq[i] += uint32(len(data))
	if flags&(syn|fin) != 0 {
		k.seq[i]++
	}
	var b []byte
	if k.v6 {
		b = make([]byte, 40)
		b[0], b[6], b[7] = 0x60, 6, 64
		b[8], b[23], b[24], b[39] = 0xfd, byte(i), 0xfd, byte(1-i)
	} else {
		b = make([]byte, 20)
		b[0], b[8], b[9] = 0x45, 64, 6
		copy(b[12:], []byte{192, 0, 2, byte(1 + i), 192, 0, 2, byte(2 - i)})
	}
	b = append(b, h...)
	if err := zerocopy.FixPacket(b); err != nil {
		panic(err)
	}
	return b
}

func (k *talk) handshake() [][]byte {
	return [][]byte{k.packet(false, syn, ""), k.packet(true, syn|ack, ""), k.packet(false, ack, "")}
}

// A tape is an Inspector that keeps the text to the server.
type tape struct{ text strings.Builder }

func (p *tape) Data(_ *stream.Conn, d stream.Direction, b []byte) stream.Decision {
	if d == stream.ToServer {
		p.text.Write(b)
	}
	return stream.Continue
}

func (*tape) Close(*stream.Conn, stream.Reason) {}

func newEngine(t *testing.T, p *tape) *stream.Engine {
	t.Helper()
	e, err := stream.New(stream.Config{MaxConns: 100, MaxMemory: 1 << 20, Open: func(*stream.Conn) stream.Inspector { return p }})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// notVerified is NFQA_SKB_INFO with NFQA_SKB_CSUM_NOTVERIFIED.
func notVerified() ipqtest.Option {
	return ipqtest.Attribute(zerocopy.AttrSkbInfo, []byte{0, 0, 0, 4})
}

// An engine in a queue: a pattern that is cut in two does not arrive whole.
func TestQueue(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{ipq.Inline, 3} {
		for _, v6 := range []bool{false, true} {
			e, err := stream.New(stream.Config{MaxConns: 100, MaxMemory: 1 << 20, Open: func(*stream.Conn) stream.Inspector { return &finder{} }})
			if err != nil {
				t.Fatal(err)
			}
			q := ipqtest.New(t, ipq.Config{Workers: workers})
			q.Run(e)
			k := talk{v6: v6}
			for _, p := range append(k.handshake(), k.packet(false, ack, "GET /at"), k.packet(true, ack, "wait")) {
				if r := q.Send(p); r.Verdict != ipq.Accept || r.Edited {
					t.Fatalf("an honest packet: %+v", r)
				}
			}
			late := k
			late.seq[0] += 2
			if r := q.Send(late.packet(false, ack, "ck")); r.Verdict != ipq.Accept {
				t.Errorf("an early segment: %+v", r)
			}
			if r := q.Send(k.packet(false, ack, "ta")); r.Verdict.Kind() != ipq.Drop {
				t.Errorf("the segment that completes the pattern: %+v", r)
			}
			if r := q.Send(k.packet(true, ack, "more")); r.Verdict.Kind() != ipq.Drop {
				t.Errorf("the rest: %+v", r)
			}
			if s := e.Stats(); s.Dropped[stream.Verdict] != 1 || s.Closed[stream.Dropped] != 1 {
				t.Errorf("%+v", s)
			}
			if s := q.Stop(); s.Dropped != 2 || s.Accepted != 6 {
				t.Errorf("%+v", s.Counts)
			}
		}
	}
}

// What receivers throw away, and what does not show what it is, is dropped by its cause.
func TestPacketsThatAreDropped(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		ip := 20
		if v6 {
			ip = 40
		}
		fix := func(b []byte) []byte {
			if err := zerocopy.FixPacket(b); err != nil {
				t.Fatal(err)
			}
			return b
		}
		for _, c := range []struct {
			name    string
			change  func(b []byte) []byte
			options []ipqtest.Option
			why     stream.Cause
		}{
			{"wrong checksum", func(b []byte) []byte { b[len(b)-1]++; return b }, []ipqtest.Option{notVerified()}, stream.BadChecksum},
			{"wrong checksum of a local sender", func(b []byte) []byte { b[len(b)-1]++; return b }, []ipqtest.Option{ipqtest.Hook(ipq.Output)}, stream.BadChecksum},
			{"header shorter than there is", func(b []byte) []byte { b[ip+12] = 0x40; return fix(b) }, nil, stream.BadHeader},
			{"header longer than the packet", func(b []byte) []byte { b[ip+12] = 0xf0; return fix(b) }, nil, stream.BadHeader},
			{"from itself to itself", func(b []byte) []byte {
				copy(b[ip-4:ip], b[ip-8:ip-4])
				if v6 {
					copy(b[24:40], b[8:24])
				}
				copy(b[ip+2:ip+4], b[ip:ip+2])
				return fix(b)
			}, nil, stream.BadHeader},
			{"cut", func(b []byte) []byte { return b }, []ipqtest.Option{ipqtest.Attribute(zerocopy.AttrCapLen, []byte{0, 0, 4, 0})}, stream.Truncated},
			{"no payload", func(b []byte) []byte { return nil }, []ipqtest.Option{ipqtest.EtherType(0x0800)}, stream.Truncated},
			{"no IP in the payload", func(b []byte) []byte { return b[:10] }, []ipqtest.Option{ipqtest.EtherType(0x0800)}, stream.Unclear},
			{"ports cut off", func(b []byte) []byte { return b[:ip+2] }, nil, stream.Unclear},
			{"fragment", func(b []byte) []byte {
				if !v6 {
					b[6] = 0x20
					return fix(b)
				}
				h := append([]byte{}, b[:40]...)
				h[6] = 44
				b = append(append(h, 6, 0, 0, 1, 0, 0, 0, 0), b[40:]...)
				binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
				return b
			}, nil, stream.Fragment},
			{"source route", func(b []byte) []byte {
				if v6 { // segment routing
					h := append([]byte{}, b[:40]...)
					h[6] = 43
					r := make([]byte, 24)
					r[0], r[1], r[2], r[3] = 6, 2, 4, 1
					b = append(append(h, r...), b[40:]...)
					binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
					return b
				}
				h := append([]byte{}, b[:20]...)
				h[0] = 0x47
				b = append(append(h, 131, 7, 4, 192, 0, 2, 9, 0), b[20:]...)
				return fix(b)
			}, nil, stream.Rerouted},
		} {
			var p tape
			e := newEngine(t, &p)
			k := talk{v6: v6}
			for _, b := range k.handshake() {
				if v := e.HandlePacket(ipqtest.Packet(b)); v != ipq.Accept {
					t.Fatalf("handshake: %v", v)
				}
			}
			again := k
			b := c.change(k.packet(false, ack, "XXXX"))
			if v := e.HandlePacket(ipqtest.Packet(b, c.options...)); v != ipq.Drop || e.Stats().Dropped[c.why] != 1 {
				t.Errorf("v6 %v, %s: %v, %+v", v6, c.name, v, e.Stats())
			}
			if v := e.HandlePacket(ipqtest.Packet(again.packet(false, ack, "abcd"), notVerified())); v != ipq.Accept || p.text.String() != "abcd" {
				t.Errorf("v6 %v, %s: the right packet: %v, %q", v6, c.name, v, p.text.String())
			}
		}
	}
}

// A trailer is no part of the stream, and what is left to the device no wrong checksum.
func TestPacketsThatPass(t *testing.T) {
	var p tape
	e := newEngine(t, &p)
	var k talk
	for _, b := range k.handshake() {
		e.HandlePacket(ipqtest.Packet(append(b, "trailer"...)))
	}
	b := k.packet(false, ack, "abcd")
	if v := e.HandlePacket(ipqtest.Packet(append(b, "trailer"...))); v != ipq.Accept {
		t.Errorf("with a trailer: %v", v)
	}
	b = k.packet(false, ack, "efgh")
	b[36]++
	if v := e.HandlePacket(ipqtest.Packet(b, ipqtest.Hook(ipq.Output), ipqtest.Attribute(zerocopy.AttrSkbInfo, []byte{0, 0, 0, 1}))); v != ipq.Accept {
		t.Errorf("with a checksum that is not ready: %v", v)
	}
	if v := e.HandlePacket(ipqtest.Packet(k.packet(false, ack, strings.Repeat("x", 60000)), ipqtest.GSO())); v != ipq.Accept {
		t.Errorf("super-packet: %v", v)
	}
	if got := p.text.String(); len(got) != 60008 || got[:8] != "abcdefgh" {
		t.Errorf("%d bytes: %.10q", len(got), got)
	}
}

// What receivers understand in different ways is changed, so that they do not.
func TestPacketsThatAreChanged(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		var p tape
		e := newEngine(t, &p)
		q := ipqtest.New(t, ipq.Config{Workers: ipq.Inline})
		q.Run(e)
		parse := func(b []byte) (h zerocopy.TCP, tcp []byte) {
			if !h.Parse(b) || !zerocopy.SumsRight(b, false) {
				t.Fatalf("v6 %v: not a right packet: % x", v6, b)
			}
			return h, b[h.Off:]
		}
		k := talk{v6: v6}
		k.options = []byte{2, 4, 5, 0xb4, 30, 4, 1, 1, 3, 3, 7, 1} // MSS, MP_CAPABLE, window scale
		r := q.Send(k.packet(false, syn, "fast open"))
		k.seq[0] -= 9
		h, tcp := parse(r.Payload)
		if len(tcp) != 32 || h.MPTCP || !h.HasScale || h.Scale != 7 || tcp[20] != 2 {
			t.Errorf("v6 %v: SYN: % x", v6, tcp)
		}
		for _, b := range [][]byte{k.packet(true, syn|ack, ""), k.packet(false, ack, "")} {
			if r := q.Send(b); r.Verdict != ipq.Accept || r.Edited {
				t.Errorf("v6 %v: %+v", v6, r)
			}
		}
		b := k.packet(false, ack|urg, "urgent")
		binary.BigEndian.PutUint16(b[len(b)-6-20+18:], 3)
		if err := zerocopy.FixPacket(b); err != nil {
			t.Fatal(err)
		}
		r = q.Send(b)
		if h, tcp := parse(r.Payload); h.Flags != ack || tcp[18] != 0 || tcp[19] != 0 || string(tcp[20:]) != "urgent" {
			t.Errorf("v6 %v: urgent data: % x", v6, tcp)
		}
		if s := e.Stats(); p.text.String() != "urgent" || s.Changed != 2 {
			t.Errorf("v6 %v: %q, %+v", v6, p.text.String(), s)
		}
	}
}

// What is not TCP is for another handler.
func TestOther(t *testing.T) {
	udp := make([]byte, 28)
	udp[0], udp[9], udp[25] = 0x45, 17, 8
	udp[12], udp[16] = 1, 2
	if err := zerocopy.FixPacket(udp); err != nil {
		t.Fatal(err)
	}
	for _, other := range []ipq.Handler{nil, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Repeat })} {
		e, err := stream.New(stream.Config{MaxConns: 1, MaxMemory: 1 << 20, Other: other, Open: func(*stream.Conn) stream.Inspector { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		want := ipq.Accept
		if other != nil {
			want = ipq.Repeat
		}
		if v := e.HandlePacket(ipqtest.Packet(udp)); v != want {
			t.Errorf("UDP: %v", v)
		}
		if v := e.HandlePacket(ipqtest.Packet([]byte("arp"), ipqtest.EtherType(0x0806))); v != want {
			t.Errorf("ARP: %v", v)
		}
	}
}

// Parts of packets are not for an Engine, and a Queue says so before it runs.
func TestParts(t *testing.T) {
	for field, cfg := range map[string]ipq.Config{"Config.SnapLen": {SnapLen: 128}, "Config.Copy": {Copy: ipq.CopyMeta}} {
		e := newEngine(t, &tape{})
		q := ipqtest.New(t, cfg)
		if err := q.Queue.Run(t.Context(), e); !errors.Is(err, ipq.ErrConfig) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: Run: %v", field, err)
		}
		q.Run(nil)
		if err := q.SetHandler(e); !errors.Is(err, ipq.ErrConfig) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: SetHandler: %v", field, err)
		}
	}
}

// A bypass is asked for where there is one, and nothing counts as failed elsewhere.
func TestBypassIsAskedFor(t *testing.T) {
	for decision, want := range map[stream.Decision]ipq.Verdict{stream.Pass: ipq.Accept, stream.Drop: ipq.Drop, stream.Reset: ipq.Drop} {
		for _, there := range []bool{false, true} {
			e, err := stream.New(stream.Config{MaxConns: 100, MaxMemory: 1 << 20, Open: func(*stream.Conn) stream.Inspector { return says(decision) }})
			if err != nil {
				t.Fatal(err)
			}
			var asked []ipq.Verdict
			cfg := ipq.Config{Workers: ipq.Inline}
			if there {
				cfg.Bypass = bypassFunc(func(v ipq.Verdict) { asked = append(asked, v) })
			}
			q := ipqtest.New(t, cfg)
			q.Run(e)
			var k talk
			for _, p := range append(k.handshake(), k.packet(false, ack, "first"), k.packet(false, ack, "second")) {
				q.Send(p)
			}
			s := q.Stop()
			n := 0
			if there {
				n = 2
			}
			if s.BypassFailed != 0 || s.Bypassed != uint64(n) || len(asked) != n || n > 0 && (asked[0].Kind() != want || asked[1] != want) {
				t.Errorf("%v, there is a bypass: %v: asked for %v, %+v", decision, there, asked, s.Counts)
			}
			resets := uint64(0)
			if decision == stream.Reset {
				resets = 2
			}
			if s.Rejects.Resets != resets {
				t.Errorf("%v: %+v", decision, s.Rejects)
			}
		}
	}
}

// says is an Inspector that says the same of everything.
type says stream.Decision

func (s says) Data(*stream.Conn, stream.Direction, []byte) stream.Decision { return stream.Decision(s) }
func (says) Close(*stream.Conn, stream.Reason)                             {}

type bypassFunc func(v ipq.Verdict)

func (f bypassFunc) Bypass(_ *ipq.Packet, v ipq.Verdict) (ipq.Verdict, error) { f(v); return v, nil }
