package ipq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

// Edited payloads arrive whole, aligned among other verdicts, with lengths and
// checksums made right.
func TestEditedPayloads(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		edits := []func(p *Packet) error{
			func(p *Packet) error { return p.SetPayload(udp4(1, []byte("a longer text than before"))) },
			func(p *Packet) error { return p.SetPayload(udp4(1, nil)) },
			func(p *Packet) error { // the same place, whatever it was set to before
				if err := p.SetPayload(udp4(1, []byte("set, then edited"))); err != nil {
					return err
				}
				b, err := p.EditPayload()
				copy(b[28:], "SET")
				return err
			},
			func(p *Packet) error { return p.SetPayload(append(p.Payload(), "appended"...)) },
			func(p *Packet) error { return p.SetPayload(p.Payload()[:len(p.Payload())-3]) },
			func(p *Packet) error {
				b, err := p.EditPayload()
				copy(b[28:], "EDIT")
				return err
			},
			func(p *Packet) error { return nil },
			func(p *Packet) error { return p.SetPayload(udp4(1, make([]byte, 65531-28))) },
		}
		want := [][]byte{
			udp4(1, []byte("a longer text than before")), udp4(1, nil), udp4(1, []byte("SET, then edited")),
			udp4(1, []byte("textappended")), udp4(1, []byte("t")), udp4(1, []byte("EDIT")), nil,
			udp4(1, make([]byte, 65531-28)),
		}
		for range 3 { // so that buffers are used again
			var ids []uint32
			for range edits {
				ids = append(ids, f.queue(fakekernel.Packet{Payload: udp4(1, []byte("text"))}))
			}
			if ids[0] == 1 {
				f.serve(Config{Workers: workers}, func(p *Packet) Verdict {
					if err := edits[(p.ID()-1)%uint32(len(edits))](p); err != nil {
						t.Errorf("packet %d: %v", p.ID(), err)
					}
					return Accept.WithMark(p.ID())
				})
			}
			for i, id := range ids {
				v := f.verdict(id)
				if !bytes.Equal(v.Payload(), want[i]) {
					t.Errorf("edit %d: got %d bytes % x, want % x", i, len(v.Payload()), head(v.Payload()), head(want[i]))
				}
				if mark := v.Attrs[zerocopy.AttrMark]; v.Verdict != 1 || len(mark) != 4 || binary.BigEndian.Uint32(mark) != id {
					t.Errorf("edit %d: %d, mark %x", i, v.Verdict, mark)
				}
			}
		}
		f.check()
	})
}

func head(b []byte) []byte { return b[:min(len(b), 60)] }

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

// A payload may be longer than what is copied of a packet.
func TestSetPayloadBeyondSnapLen(t *testing.T) {
	f := newFake(t)
	long := udp4(1, make([]byte, 5000))
	f.serve(Config{Workers: Inline, SnapLen: 100}, func(p *Packet) Verdict {
		if err := p.SetPayload(long); err != nil {
			t.Error(err)
		}
		return Accept
	})
	if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); !bytes.Equal(v.Payload(), long) {
		t.Errorf("%d bytes", len(v.Payload()))
	}
}

// Without KeepChecksums sums are made right; with it they are the handler's.
func TestKeepChecksums(t *testing.T) {
	for _, keep := range []bool{false, true} {
		f := newFake(t)
		_, stop := f.serve(Config{Workers: Inline, KeepChecksums: keep}, func(p *Packet) Verdict {
			b, err := p.EditPayload()
			if err != nil {
				t.Error(err)
				return Drop
			}
			b[28] ^= 0xff
			return Accept
		})
		v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, []byte("text"))}))
		if right := zerocopy.VerifyPacket(v.Payload()); right == keep {
			t.Errorf("KeepChecksums %v: checksums right %v", keep, right)
		}
		stop()
	}
}

// A dropped packet needs no payload, however it was edited.
func TestDropCarriesNoPayload(t *testing.T) {
	f := newFake(t)
	q, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict {
		if err := p.SetPayload(udp4(1, []byte("in vain"))); err != nil {
			t.Error(err)
		}
		return Drop
	})
	if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); v.Payload() != nil || v.Verdict != 0 {
		t.Errorf("%+v", v)
	}
	stop()
	if q.Stats().Modified != 0 {
		t.Error("counted as modified")
	}
}

func TestRefusedEdits(t *testing.T) {
	f := newFake(t)
	whole := udp4(1, []byte("text"))
	type try struct {
		what string
		p    fakekernel.Packet
		edit func(p *Packet) error
		want error
	}
	set := func(b []byte) func(p *Packet) error { return func(p *Packet) error { return p.SetPayload(b) } }
	edit := func(p *Packet) error { _, err := p.EditPayload(); return err }
	tries := []try{
		{"truncated", fakekernel.Packet{Payload: whole, CapLen: 1500}, set(whole), ErrTruncated},
		{"truncated in place", fakekernel.Packet{Payload: whole, CapLen: 1500}, edit, ErrTruncated},
		{"GSO", fakekernel.Packet{Payload: whole, SkbInfo: zerocopy.SkbGSO}, set(whole), ErrGSO},
		{"too large", fakekernel.Packet{Payload: whole}, set(make([]byte, 65532)), ErrTooLarge},
		{"nothing", fakekernel.Packet{Payload: whole}, set(nil), ErrNotIP},
		{"no IP", fakekernel.Packet{Payload: whole}, set(make([]byte, 100)), ErrNotIP},
		{"short IPv6", fakekernel.Packet{Payload: whole}, set(append([]byte{0x60}, make([]byte, 38)...)), ErrNotIP},
		{"bad header length", fakekernel.Packet{Payload: whole}, set(append([]byte{0x4f}, make([]byte, 30)...)), ErrNotIP},
		{"header length below the least", fakekernel.Packet{Payload: whole}, set(append([]byte{0x44}, make([]byte, 30)...)), ErrNotIP},
		{"ARP in place", fakekernel.Packet{Payload: make([]byte, 28), Protocol: 0x0806}, edit, ErrNotIP},
	}
	_, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict {
		x := tries[p.ID()-1]
		if err := x.edit(p); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.what, err, x.want)
		}
		return Accept
	})
	for _, x := range tries {
		if v := f.verdict(f.queue(x.p)); v.Payload() != nil || v.Verdict != 1 {
			t.Errorf("%s: changed after all: %+v", x.what, v)
		}
	}
	stop()
}

// With CopyMeta there is no payload to read, but one can be set.
func TestSetPayloadWithoutOne(t *testing.T) {
	f := newFake(t)
	_, stop := f.serve(Config{Workers: Inline, Copy: CopyMeta}, func(p *Packet) Verdict {
		if p.Payload() != nil || p.Len() != 0 || p.Flow().IsValid() {
			t.Errorf("payload %v, length %d, flow %v", p.Payload(), p.Len(), p.Flow())
		}
		if err := p.SetPayload(udp4(1, []byte("set"))); err != nil {
			t.Error(err)
		}
		return Accept
	})
	v := f.verdict(f.queue(fakekernel.Packet{Protocol: 0x0800}))
	if want := udp4(1, []byte("set")); !bytes.Equal(v.Payload(), want) {
		t.Errorf("got % x, want % x", v.Payload(), want)
	}
	stop()
}

// The flow follows an edit; the hash stays that of the packet as it came, also in
// a copy, however late it is asked for.
func TestFlowOfAnEditedPacket(t *testing.T) {
	const before, after = 1000, 2000
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		want := flowOf(udp4(before, nil))
		_, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict {
			asked := p.Mark() == 1
			for range 2 { // it is parsed the first time
				if asked && p.Flow() != want {
					t.Errorf("flow %v, want %v", p.Flow(), want)
				}
			}
			b, err := p.EditPayload()
			if err != nil {
				t.Error(err)
				return Drop
			}
			binary.BigEndian.PutUint16(b[20:], after)
			if p.Flow().SrcPort != after || p.FlowHash() != want.Hash() {
				t.Errorf("asked before %v: edited, the flow is %v, its hash that of the packet as it came: %v", asked, p.Flow(), p.FlowHash() == want.Hash())
			}
			d, err := p.Defer()
			if err != nil {
				t.Error(err)
				return Drop
			}
			if c := d.Packet(); c.Flow().SrcPort != after || c.FlowHash() != want.Hash() {
				t.Errorf("the copy's flow is %v, its hash that of the packet as it came: %v", c.Flow(), c.FlowHash() == want.Hash())
			}
			if err := d.Verdict(Accept); err != nil {
				t.Error(err)
			}
			return Drop
		})
		for mark := range uint32(2) {
			if v := f.verdict(f.queue(fakekernel.Packet{Mark: mark, Payload: udp4(before, nil)})); binary.BigEndian.Uint16(v.Payload()[20:]) != after {
				t.Errorf("sent on: % x", v.Payload())
			}
		}
		stop()
	})
}
