package ipq

import (
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

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
