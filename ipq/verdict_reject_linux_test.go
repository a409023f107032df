package ipq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

// An answer is what a recorder was given to send.
type answer struct {
	to      netip.Addr
	ifindex int
	icmp6   bool
	packet  []byte
}

// A recorder is a answerSender that sends nothing.
type recorder struct {
	broadcast netip.Addr
	err       error

	mu   sync.Mutex
	sent []answer
}

func (r *recorder) add(a answer, b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.packet = bytes.Clone(b)
	r.sent = append(r.sent, a)
	return r.err
}

func (r *recorder) Send(b []byte, to netip.Addr, ifindex int) error {
	return r.add(answer{to: to, ifindex: ifindex}, b)
}

func (r *recorder) SendICMPv6(b []byte, to netip.Addr, ifindex int) error {
	return r.add(answer{to: to, ifindex: ifindex, icmp6: true}, b)
}

func (r *recorder) Broadcast(a netip.Addr) bool { return a == r.broadcast }

func (r *recorder) Close() error { return nil }

// answers has the queues of f record their answers.
func (f *fakeQueue) answers() *recorder {
	r := &recorder{broadcast: netip.MustParseAddr("192.0.2.255")}
	f.alter = func(s *socket) {
		cfg, err := Config{}.withDefaults()
		if err != nil {
			f.t.Fatal(err)
		}
		s.rejects = &rejecter{cfg: &cfg, out: r}
	}
	return r
}

// tcp4 and tcp6 are segments from 192.0.2.1 and fe80::1, port 1, to 192.0.2.2 and
// fe80::2, port 2, with right checksums.
func tcp4(flags byte, data string) []byte {
	return segment(make([]byte, 20), flags, data)
}

func tcp6(flags byte, data string) []byte {
	return segment(make([]byte, 40), flags, data)
}

func segment(b []byte, flags byte, data string) []byte {
	if len(b) == 20 {
		b[0], b[8], b[9] = 0x45, 64, protoTCP
		copy(b[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	} else {
		b[0], b[6], b[7], b[8], b[9], b[24], b[25] = 0x60, protoTCP, 64, 0xfe, 0x80, 0xfe, 0x80
		b[23], b[39] = 1, 2
	}
	b = append(b, "\x00\x01\x00\x02\x00\x00\x00\x64\x00\x00\x00\xc8\x50\x00\xff\xff\x00\x00\x00\x00"...)
	b[len(b)-7] = flags
	b = append(b, data...)
	if err := zerocopy.FixPacket(b); err != nil {
		panic(err)
	}
	return b
}

// What is sent, and to whom.
func TestRejectAnswers(t *testing.T) {
	const syn, ack = zerocopy.TCPSyn, zerocopy.TCPAck
	links := encode(attr{typ: zerocopy.AttrInDev, value: be32(3)}, attr{typ: zerocopy.AttrOutDev, value: be32(4)})
	one4, two4 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	one6, two6 := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2")
	for _, x := range []struct {
		name    string
		payload []byte
		verdict Verdict
		want    []answer // without the packet
	}{
		{"SYN", tcp4(syn, ""), Reject, []answer{{to: one4, ifindex: 3}}},
		{"SYN, both", tcp4(syn, ""), RejectBoth, []answer{{to: one4, ifindex: 3}}},
		{"data", tcp4(ack, "text"), Reject.WithMark(5), []answer{{to: one4, ifindex: 3}}},
		{"data, both", tcp4(ack, "text"), RejectBoth, []answer{{to: one4, ifindex: 3}, {to: two4, ifindex: 4}}},
		{"IPv6, both", tcp6(ack, "text"), RejectBoth, []answer{{to: one6, ifindex: 3}, {to: two6, ifindex: 4}}},
		{"UDP", udp4(1, []byte("text")), RejectBoth, []answer{{to: one4, ifindex: 3}}},
		{"UDP, IPv6", udp6(1, []byte("text")), Reject, []answer{{to: netip.MustParseAddr("2001:db8::1"), ifindex: 3, icmp6: true}}},
		{"drop", tcp4(ack, "text"), Drop, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, workers int) {
				f := newFake(t)
				r := f.answers()
				q, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict { return x.verdict })
				v := f.verdict(f.queue(fakekernel.Packet{Attrs: links, Payload: x.payload}))
				if v.Verdict != uint32(Drop) {
					t.Errorf("the kernel got verdict %#x", v.Verdict)
				}
				if mark, ok := v.U32(zerocopy.AttrMark); ok != (x.name == "data") || ok && mark != 5 {
					t.Errorf("the kernel got mark %d, %v", mark, ok)
				}
				stop()
				if len(r.sent) != len(x.want) {
					t.Fatalf("%d answers, want %d", len(r.sent), len(x.want))
				}
				tcp := flowOf(x.payload).Protocol == protoTCP
				for i, got := range r.sent {
					b := make([]byte, 2048)
					switch {
					case tcp:
						b = b[:zerocopy.PutReset(b, x.payload, len(x.payload), i == 0)]
					case got.icmp6:
						b = b[:zerocopy.PutProhibited6(b, x.payload)]
					default:
						b = b[:zerocopy.PutProhibited4(b, x.payload)]
					}
					if !bytes.Equal(got.packet, b) {
						t.Errorf("answer %d: % x, want % x", i, got.packet, b)
					}
					got.packet = nil
					if fmt.Sprint(got) != fmt.Sprint(x.want[i]) {
						t.Errorf("answer %d: %+v, want %+v", i, got, x.want[i])
					}
				}
				s := q.Stats()
				want := Rejects{Resets: uint64(len(x.want))}
				if !tcp {
					want = Rejects{Prohibitions: uint64(len(x.want))}
				}
				if s.Rejects != want || s.Dropped != 1 || s.DroppedBy.Handler != 1 || s.InvalidVerdicts != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// Of some packets nobody is told, and it is counted why.
func TestRejectTellsNobody(t *testing.T) {
	patch := func(b []byte, at int, bytes ...byte) []byte {
		copy(b[at:], bytes)
		return b
	}
	fixed := func(b []byte) []byte {
		if err := zerocopy.FixPacket(b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	icmp := func(proto, typ byte) []byte {
		b := udp4(0, nil)
		if proto == protoICMPv6 {
			b = udp6(0, nil)
			return fixed(patch(patch(b, 6, proto), 40, typ, 0))
		}
		return fixed(patch(patch(b, 9, proto), 20, typ, 0))
	}
	exempt, damaged, unknown, failed := Rejects{Exempt: 1}, Rejects{Damaged: 1}, Rejects{Unknown: 1}, Rejects{Failed: 1}
	for _, x := range []struct {
		name string
		p    fakekernel.Packet
		want Rejects
	}{
		{"RST", fakekernel.Packet{Payload: tcp4(zerocopy.TCPRst|zerocopy.TCPAck, "")}, exempt},
		{"RST over IPv6", fakekernel.Packet{Payload: tcp6(zerocopy.TCPRst, "")}, exempt},
		{"ICMP error", fakekernel.Packet{Payload: icmp(protoICMP, 3)}, exempt},
		{"ICMP redirect", fakekernel.Packet{Payload: icmp(protoICMP, 5)}, exempt},
		{"ICMPv6 error", fakekernel.Packet{Payload: icmp(protoICMPv6, 1)}, exempt},
		{"neighbour solicitation", fakekernel.Packet{Payload: icmp(protoICMPv6, 135)}, exempt},
		{"to multicast", fakekernel.Packet{Payload: fixed(patch(udp4(1, nil), 16, 224, 0, 0, 1))}, exempt},
		{"to multicast, IPv6", fakekernel.Packet{Payload: fixed(patch(udp6(1, nil), 24, 0xff, 2))}, exempt},
		{"from multicast", fakekernel.Packet{Payload: fixed(patch(udp4(1, nil), 12, 239, 0, 0, 1))}, exempt},
		{"from nobody", fakekernel.Packet{Payload: fixed(patch(udp4(1, nil), 12, 0, 0, 0, 0))}, exempt},
		{"from nobody, IPv6", fakekernel.Packet{Payload: fixed(patch(udp6(1, nil), 8, make([]byte, 16)...))}, exempt},
		{"to all", fakekernel.Packet{Payload: fixed(patch(udp4(1, nil), 16, 255, 255, 255, 255))}, exempt},
		{"to a network's broadcast", fakekernel.Packet{Payload: fixed(patch(udp4(1, nil), 19, 255))}, exempt},
		{"first fragment", fakekernel.Packet{Payload: fixed(patch(tcp4(zerocopy.TCPSyn, ""), 6, 0x20))}, exempt},
		{"later fragment", fakekernel.Packet{Payload: fixed(patch(udp4(1, nil), 7, 1))}, exempt},
		{"wrong checksum", fakekernel.Packet{SkbInfo: zerocopy.SkbCsumNotVerified, Payload: patch(tcp4(zerocopy.TCPSyn, ""), 36, 1)}, damaged},
		{"wrong checksum of the IP header", fakekernel.Packet{SkbInfo: zerocopy.SkbCsumNotVerified, Payload: patch(udp4(1, nil), 10, 1)}, damaged},
		{"cut, unverified", fakekernel.Packet{SkbInfo: zerocopy.SkbCsumNotVerified, CapLen: 1500, Payload: tcp4(zerocopy.TCPAck, "text")}, unknown},
		{"cut off in its headers", fakekernel.Packet{CapLen: 40, Payload: tcp4(zerocopy.TCPAck, "")[:21]}, unknown},
		{"no IP", fakekernel.Packet{Protocol: 0x0806, Payload: make([]byte, 28)}, unknown},
		{"no payload", fakekernel.Packet{}, unknown},
		{"of a bridge", fakekernel.Packet{Family: familyBridge, Payload: udp4(1, nil)}, failed},
		// But of these they are.
		{"wrong checksum, so far", fakekernel.Packet{SkbInfo: zerocopy.SkbCsumNotReady, Payload: patch(tcp4(zerocopy.TCPSyn, ""), 36, 1)}, Rejects{Resets: 1}},
		{"right checksum", fakekernel.Packet{SkbInfo: zerocopy.SkbCsumNotVerified, Payload: tcp4(zerocopy.TCPSyn, "")}, Rejects{Resets: 1}},
		{"cut, verified", fakekernel.Packet{CapLen: 1500, Payload: tcp4(zerocopy.TCPAck, "text")}, Rejects{Resets: 1}},
		{"super-packet", fakekernel.Packet{SkbInfo: zerocopy.SkbGSO | zerocopy.SkbCsumNotReady, Payload: tcp4(zerocopy.TCPAck, "text")}, Rejects{Resets: 1}},
		{"echo request", fakekernel.Packet{Payload: icmp(protoICMP, 8)}, Rejects{Prohibitions: 1}},
		{"echo request, IPv6", fakekernel.Packet{Payload: icmp(protoICMPv6, 128)}, Rejects{Prohibitions: 1}},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := newFake(t)
			r := f.answers()
			q, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict { return Reject })
			if v := f.verdict(f.queue(x.p)); v.Verdict != uint32(Drop) {
				t.Errorf("the kernel got verdict %#x", v.Verdict)
			}
			stop()
			if s := q.Stats(); s.Rejects != x.want || s.Dropped != 1 {
				t.Errorf("%+v, want %+v", s.Rejects, x.want)
			}
			if n := uint64(len(r.sent)); n != x.want.Resets+x.want.Prohibitions {
				t.Errorf("%d answers", n)
			}
		})
	}
}

// Where a handler edits, defers, bypasses or only watches.
func TestRejectBesidesOthers(t *testing.T) {
	t.Run("edited", func(t *testing.T) {
		f := newFake(t)
		f.answers()
		q, stop := f.serve(Config{}, func(p *Packet) Verdict {
			if _, err := p.EditPayload(); err != nil {
				t.Error(err)
			}
			return Reject
		})
		f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		stop()
		if s := q.Stats(); s.Rejects != (Rejects{Unknown: 1}) || s.Dropped != 1 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("deferred", func(t *testing.T) {
		f := newFake(t)
		r := f.answers()
		deferred := make(chan *Deferred, 1)
		q, stop := f.serve(Config{}, func(p *Packet) Verdict {
			d, err := p.Defer()
			if err != nil {
				t.Error(err)
			}
			deferred <- d
			return Reject
		})
		id := f.queue(fakekernel.Packet{Payload: tcp4(zerocopy.TCPAck, "text")})
		if err := (<-deferred).Verdict(RejectBoth); err != nil {
			t.Error(err)
		}
		f.verdict(id)
		f.queue(fakekernel.Packet{Payload: tcp4(zerocopy.TCPAck, "text")})
		<-deferred
		stop() // which decides the second
		if s := q.Stats(); s.Rejects != (Rejects{Resets: 2, Failed: 1}) || s.Dropped != 2 || len(r.sent) != 2 {
			t.Errorf("%+v, %d answers", s, len(r.sent))
		}
	})
	t.Run("observed", func(t *testing.T) {
		f := newFake(t)
		r := f.answers()
		alter := f.alter
		f.alter = func(s *socket) { alter(s); s.rejects.cfg.Observe = true }
		q, stop := f.serve(Config{Observe: true}, func(p *Packet) Verdict { return Reject })
		if v := f.verdict(f.queue(fakekernel.Packet{Payload: tcp4(zerocopy.TCPSyn, "")})); v.Verdict != uint32(Accept) {
			t.Errorf("the kernel got verdict %#x", v.Verdict)
		}
		stop()
		if s := q.Stats(); s.Rejects != (Rejects{Resets: 1}) || s.Dropped != 1 || len(r.sent) != 0 {
			t.Errorf("%+v, %d answers", s, len(r.sent))
		}
	})
	t.Run("bypassed", func(t *testing.T) {
		f := newFake(t)
		f.answers()
		cfg := Config{Bypass: bypassFunc(func(p *Packet, v Verdict) (Verdict, error) {
			if v != Drop {
				t.Errorf("bypass of %v", v)
			}
			if p.Flow().Protocol == protoTCP {
				return Accept.WithMark(5), nil // as where rules drop what is marked
			}
			return v, errors.New("no room")
		})}
		q, stop := f.serve(cfg, func(p *Packet) Verdict { return Reject.Bypass() })
		f.verdict(f.queue(fakekernel.Packet{Payload: tcp4(zerocopy.TCPSyn, "")}))
		f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		stop()
		if s := q.Stats(); s.Rejects != (Rejects{Resets: 1, Prohibitions: 1}) || s.Accepted != 1 || s.Dropped != 1 || s.Bypassed != 1 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("refused by the kernel", func(t *testing.T) {
		f := newFake(t)
		f.answers().err = syscall.ENETUNREACH
		q, stop := f.serve(Config{}, func(p *Packet) Verdict { return RejectBoth })
		f.verdict(f.queue(fakekernel.Packet{Payload: tcp4(zerocopy.TCPAck, "")}))
		stop()
		if s := q.Stats(); s.Rejects != (Rejects{Failed: 2}) || s.Dropped != 1 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("Conn", func(t *testing.T) {
		f := newFake(t)
		r := f.answers()
		c := f.connect(Config{})
		id := f.queue(fakekernel.Packet{Payload: tcp4(zerocopy.TCPSyn, "")})
		p, err := c.Read(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetVerdict(id, Reject, nil); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("Reject by id: %v", err)
		}
		if err := c.SetVerdictBatch(id, Reject); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("Reject of a batch: %v", err)
		}
		if err := c.Decide(p, Reject); err != nil {
			t.Error(err)
		}
		if v := f.verdict(id); v.Verdict != uint32(Drop) || len(r.sent) != 1 {
			t.Errorf("verdict %#x, %d answers", v.Verdict, len(r.sent))
		}
	})
	t.Run("policies", func(t *testing.T) {
		for _, cfg := range []Config{{OnPanic: Always(Reject)}, {OnTimeout: Always(RejectBoth)}, {BeforeHandler: Always(Reject)}} {
			if _, err := cfg.withDefaults(); !errors.Is(err, ErrConfig) {
				t.Errorf("%+v: %v", cfg, err)
			}
		}
	})
}

// There are no more answers than RejectRate, and one a second is far fewer than come.
func TestRejectRate(t *testing.T) {
	f := newFake(t)
	f.answers()
	alter := f.alter
	f.alter = func(s *socket) { alter(s); s.rejects.cfg.RejectRate = 1 }
	q, stop := f.serve(Config{Workers: 2}, func(p *Packet) Verdict { return Reject })
	const packets = 500
	for range packets {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	for id := range uint32(packets) {
		f.verdict(id + 1)
	}
	stop()
	s := q.Stats()
	if s.Rejects.Prohibitions == 0 || s.Rejects.Limited == 0 || s.Rejects.Prohibitions+s.Rejects.Limited != packets || s.Dropped != packets {
		t.Errorf("%+v", s)
	}

	var p allowance
	allowed := func(n int, now uint64) (sum int) {
		for range n {
			if p.allow(10, time.Duration(now)*time.Millisecond) {
				sum++
			}
		}
		return sum
	}
	for _, x := range []struct {
		now  uint64
		want int
	}{{5000, 10}, {5000, 0}, {5100, 1}, {5350, 3}, {9000, 10}} {
		if got := allowed(100, x.now); got != x.want {
			t.Errorf("%d allowed at %d ms, want %d", got, x.now, x.want)
		}
	}
}

// The first packet of a connection that is translated is answered as it was before. For
// later ones the kernel knows the connection, and translates the answer.
func TestRejectBeforeTranslation(t *testing.T) {
	const snat, confirmed = 1 << 4, 1 << 3
	ports := func(src, dst uint16) []attr {
		return []attr{{typ: 2, value: be16(src)}, {typ: 3, value: be16(dst)}}
	}
	for _, x := range []struct {
		status uint32
		want   string
	}{{snat, "10.0.0.9"}, {snat | confirmed, "192.0.2.1"}, {0, "192.0.2.1"}} {
		for _, payload := range [][]byte{tcp4(zerocopy.TCPSyn, ""), udp4(1, []byte("text"))} {
			proto := payload[9]
			f := newFake(t)
			r := f.answers()
			_, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict { return Reject })
			f.verdict(f.queue(fakekernel.Packet{Payload: payload, Attrs: encode(
				attr{typ: zerocopy.AttrCT, nest: []attr{
					tuple(1, "10.0.0.9", "192.0.2.2", proto, ports(1000, 2)...),
					tuple(2, "192.0.2.2", "192.0.2.1", proto, ports(2, 1)...),
					{typ: 3, value: be32(x.status)},
				}},
				attr{typ: zerocopy.AttrCTInfo, value: be32(2)},
			)}))
			stop()
			if len(r.sent) != 1 || r.sent[0].to.String() != x.want {
				t.Fatalf("status %#x: %+v", x.status, r.sent)
			}
			port := binary.BigEndian.Uint16(r.sent[0].packet[22:]) // the sender's
			if proto == protoUDP {
				quoted := r.sent[0].packet[28:]
				if port = binary.BigEndian.Uint16(quoted[20:]); !zerocopy.VerifyPacket(quoted) || flowOf(quoted).Src.String() != x.want {
					t.Errorf("status %#x: % x is quoted", x.status, quoted)
				}
			}
			if (port == 1000) != (x.want == "10.0.0.9") {
				t.Errorf("status %#x, protocol %d: port %d", x.status, proto, port)
			}
		}
	}
}

// Without a raw socket a packet is dropped, and the log says so once.
func TestRejectWithoutRawSocket(t *testing.T) {
	f := newFake(t)
	var log syncBuffer
	f.alter = func(s *socket) {
		s.rejects = &rejecter{cfg: &Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, why: syscall.EPERM}
	}
	q, stop := f.serve(Config{}, func(p *Packet) Verdict { return Reject })
	for id := range uint32(3) {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		if v := f.verdict(id + 1); v.Verdict != uint32(Drop) {
			t.Errorf("the kernel got verdict %#x", v.Verdict)
		}
	}
	stop()
	if s := q.Stats(); s.Rejects != (Rejects{Failed: 3}) || s.Dropped != 3 {
		t.Errorf("%+v", s)
	}
	await(t, "the log", func() bool { return strings.Contains(log.String(), "CAP_NET_RAW") })
	if text := log.String(); strings.Count(text, "CAP_NET_RAW") != 1 || !strings.Contains(text, "operation not permitted") {
		t.Errorf("log: %s", text)
	}
}
