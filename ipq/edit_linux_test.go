package ipq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
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

// Many large payloads do not fit into one write.
func TestLargePayloadsAreSplitOverWrites(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		big := udp4(1, bytes.Repeat([]byte("x"), 60000))
		const n = 16
		for range n {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		q, stop := f.serve(Config{Workers: workers, BatchSize: n}, func(p *Packet) Verdict {
			if err := p.SetPayload(big); err != nil {
				t.Error(err)
			}
			return Accept
		})
		last := 0
		for id := uint32(1); id <= n; id++ {
			v := f.verdict(id)
			if !bytes.Equal(v.Payload(), big) {
				t.Fatalf("packet %d: payload of %d bytes", id, len(v.Payload()))
			}
			if v.Write < last {
				t.Errorf("packet %d was decided in write %d, after %d", id, v.Write, last)
			}
			last = v.Write
		}
		stop()
		f.check()
		if s := q.Stats(); s.Modified != n || s.Verdicts != n || s.Writes < n/2 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A small socket buffer bounds each write, and with it each payload.
func TestWritesFitTheSocketBuffer(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		q.loops[0].sock.sendLimit = 160 // five plain verdicts
		const n = 16
		for i := range n {
			f.queue(fakekernel.Packet{Payload: udp4(uint16(i), make([]byte, 100))})
		}
		done := make(chan error)
		go func() {
			done <- q.Run(t.Context(), HandlerFunc(func(p *Packet) Verdict {
				if err := p.SetPayload(udp4(1, make([]byte, 100))); !errors.Is(err, ErrTooLarge) {
					t.Errorf("SetPayload: %v", err)
				}
				if _, err := p.EditPayload(); !errors.Is(err, ErrTooLarge) {
					t.Errorf("EditPayload: %v", err)
				}
				return Verdict(p.ID() & 1) // no runs
			}))
		}()
		writes := map[int]int{}
		for id := uint32(1); id <= n; id++ {
			writes[f.verdict(id).Write]++
		}
		for w, n := range writes {
			if n > 5 {
				t.Errorf("write %d carried %d verdicts", w, n)
			}
		}
		q.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.check()
	})
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
			if asked && (p.Flow() != want || p.Flow() != want) {
				t.Errorf("flow %v, want %v", p.Flow(), want)
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
