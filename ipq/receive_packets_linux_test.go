package ipq

import (
	"bytes"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

// Packets of every length come whole and go on unharmed: those whose messages
// end anywhere between two multiples of four, which the kernel does not pad, and
// those beyond 4 KiB, of jumbo frames and of the largest datagrams.
func TestKernelPacketsOfEveryLength(t *testing.T) {
	const headers = 20 + 8 // of IPv4 and UDP
	lengths := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 1471, 1472, 1473, 4067, 4068, 4069, 8972, 9001, 16383, 65531 - headers}
	text := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz"), 2000)
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		u := newUDPPath(t, ns, "127.0.0.1")
		q, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers}, HandlerFunc(func(p *Packet) Verdict {
			b := p.Payload()
			if p.Truncated() || len(b) != p.Len() || len(b) < headers || !bytes.Equal(b[headers:], text[:len(b)-headers]) {
				t.Errorf("a packet of %d bytes came with %d, truncated: %v", p.Len(), len(b), p.Truncated())
			}
			return Accept
		}))
		for _, n := range lengths {
			u.send(string(text[:n]))
			if got := u.receive(); got != string(text[:n]) {
				t.Errorf("%d bytes arrived of %d", len(got), n)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if s := q.Stats(); s.Received != uint64(len(lengths)) || s.Truncated != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestTruncatedPacketsAreCounted(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict {
			if want := p.ID() == 2; p.Truncated() != want || want && p.Len() != 1500 {
				t.Errorf("packet %d: truncated %v, length %d", p.ID(), p.Truncated(), p.Len())
			}
			return Accept
		})
		whole := udp4(1, make([]byte, 1500-28))
		for _, p := range []fakekernel.Packet{{Payload: whole}, {Payload: whole[:28], CapLen: 1500}, {Payload: whole}} {
			f.verdict(f.queue(p))
		}
		stop()
		if s := q.Stats(); s.Truncated != 1 || s.Received != 3 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A message that is longer than any that the kernel should send is cut by the
// socket, and counts as truncated: there is a part of the packet to decide by.
func TestMessagesCutByTheSocketAreTruncated(t *testing.T) {
	f := newFake(t)
	q, stop := f.serve(Config{Workers: Inline, SnapLen: 100}, func(p *Packet) Verdict {
		if !p.Truncated() || len(p.Payload()) == 0 || p.SetPayload(udp4(1, nil)) != ErrTruncated {
			t.Errorf("truncated %v, %d bytes", p.Truncated(), len(p.Payload()))
		}
		return Accept
	})
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, make([]byte, zerocopy.MaxOverhead+100))}))
	stop()
	if s := q.Stats(); s.Truncated != 1 || s.Undecodable != 0 {
		t.Errorf("stats: %+v", s)
	}
}

// A packet that cannot be decoded is decided by its id.
func TestUndecodablePackets(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for _, open := range []bool{false, true} {
			f := newFake(t)
			q, stop := f.serve(Config{Workers: workers, FailOpen: open}, func(p *Packet) Verdict {
				t.Errorf("handler called for %d", p.ID())
				return Repeat
			})
			short := fakekernel.Attr(nil, zerocopy.AttrMark, []byte{1, 2})
			id := f.queue(fakekernel.Packet{Raw: short})
			want := uint32(0)
			if open {
				want = 1
			}
			if v := f.verdict(id); v.Verdict != want {
				t.Errorf("fail open %v: verdict %d", open, v.Verdict)
			}
			// Neither an id nor a packet: counted, and the loop goes on.
			whole := (&fakekernel.Packet{}).Message(fakeNumber, 99)
			for _, b := range [][]byte{whole[:22], {1, 2, 3}, fakekernel.ErrorMessage(0, zerocopy.TypeConfig, 1)} {
				if err := f.Send(b); err != nil {
					t.Fatal(err)
				}
			}
			f.verdict(f.queue(fakekernel.Packet{Raw: short}))
			stop()
			f.check()
			if s := q.Stats(); s.Undecodable != 4 || s.OtherMessages != 1 || s.Received != 2 || s.Verdicts != 2 {
				t.Errorf("stats: %+v", s)
			}
		}
	})
}

// Packets of every family and hook, such as a bridge's ARP or those of a
// device's ingress, are handled and decided.
func TestPacketsOfOtherFamilies(t *testing.T) {
	const (
		inet, arp, netdev, bridge, ipv6 = 1, 3, 5, 7, 10 // NFPROTO_*
		etherARP                        = 0x0806
	)
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		var handled []Hook // one flow's handlers come one after the other
		q, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict {
			if p.EtherType() != etherARP {
				t.Errorf("protocol %#x", p.EtherType())
			}
			_ = p.Hook().String()
			_ = p.Flow().String()
			handled = append(handled, p.Hook())
			return Accept
		})
		id := uint32(0)
		hooks := []uint8{0, 4, 5, 255}
		families := []byte{0, inet, arp, netdev, bridge, ipv6, 255}
		for _, family := range families {
			for _, hook := range hooks {
				p := fakekernel.Packet{Protocol: etherARP, Hook: hook, Payload: []byte{0, 1, 8, 0, 6, 4, 0, 1}}
				id++
				b := p.Message(fakeNumber, id)
				b[zerocopy.HeaderLen] = family // nfgen_family
				if err := f.Send(b); err != nil {
					t.Fatal(err)
				}
			}
		}
		await(t, "the verdicts", func() bool { return q.Stats().Verdicts == uint64(id) })
		stop()
		if s := q.Stats(); s.Accepted != uint64(len(families)*len(hooks)) || s.Undecodable+s.OtherMessages != 0 {
			t.Errorf("stats: %+v", s)
		}
		for i, h := range handled {
			if want := Hook(hooks[i%len(hooks)]); h != want {
				t.Errorf("packet %d at hook %d, want %d", i+1, h, want)
			}
		}
	})
}
