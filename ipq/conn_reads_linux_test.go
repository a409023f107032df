package ipq

import (
	"bytes"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

// A deadline that has passed does not end the reads that come later.
func TestConnReadsOnAfterATimeout(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	for _, timeout := range []time.Duration{0, time.Minute} {
		if _, err := c.Read(time.Nanosecond); err != ErrTimeout {
			t.Fatalf("empty socket: %v", err)
		}
		id := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		if p, err := c.Read(timeout); err != nil || p.ID() != id {
			t.Errorf("timeout %v, after one that passed: %v", timeout, err)
		}
	}
}

// What is no packet: an acknowledgement is passed over, the rest are errors
// that do not stop the reading.
func TestConnTellsErrorsApart(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	header := (&fakekernel.Packet{}).Message(fakeNumber, 99)[:22] // cut before the id
	const eperm = uint32(syscall.EPERM)
	for _, b := range [][]byte{
		fakekernel.ErrorMessage(0, zerocopy.TypeVerdict, 1),
		fakekernel.ErrorMessage(eperm, zerocopy.TypeConfig, 1),
		header,
		fakekernel.ErrorMessage(eperm, zerocopy.TypeVerdict, 5),
	} {
		if err := f.Send(b); err != nil {
			t.Fatal(err)
		}
	}
	id := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})

	var op *OpError
	var v *VerdictError
	if p, err := c.Read(0); p != nil || !errors.As(err, &op) || op.Op != "configure" || !errors.Is(err, syscall.EPERM) || errors.As(err, &v) {
		t.Errorf("refused configuration: %v, %v", p, err)
	}
	if p, err := c.Read(0); p != nil || !errors.Is(err, ErrUndecodable) {
		t.Errorf("packet without an id: %v, %v", p, err)
	}
	if p, err := c.Read(0); p != nil || !errors.As(err, &v) || v.ID != 5 || v.Errno != syscall.EPERM {
		t.Errorf("refused verdict: %v, %v", p, err)
	}
	if p, err := c.Read(0); err != nil || p.ID() != id {
		t.Errorf("packet behind them: %v", err)
	}
}

// Each of several errors behind a packet is the error of one ReadBatch.
func TestConnReadBatchLosesNoError(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	for seq := range uint32(2) {
		if err := f.Send(fakekernel.ErrorMessage(2, zerocopy.TypeVerdict, seq)); err != nil {
			t.Fatal(err)
		}
	}
	id := f.queue(fakekernel.Packet{Raw: fakekernel.Attr(nil, zerocopy.AttrMark, []byte{1})})

	if ps, err := c.ReadBatch(0); err != nil || len(ps) != 1 {
		t.Fatalf("%d packets, %v", len(ps), err)
	}
	for seq := range uint32(2) {
		var v *VerdictError
		if ps, err := c.ReadBatch(0); ps != nil || !errors.As(err, &v) || v.ID != seq {
			t.Errorf("error %d: %d packets, %v", seq, len(ps), err)
		}
	}
	// The packet that its error is about comes first: it wants a verdict.
	if ps, err := c.ReadBatch(0); err != nil || len(ps) != 1 || ps[0].ID() != id {
		t.Errorf("undecodable packet: %d packets, %v", len(ps), err)
	}
	if ps, err := c.ReadBatch(0); ps != nil || !errors.Is(err, ErrUndecodable) {
		t.Errorf("its error: %d packets, %v", len(ps), err)
	}
	if ps, err := c.ReadBatch(-1); ps != nil || err != ErrTimeout {
		t.Errorf("nothing left: %d packets, %v", len(ps), err)
	}
}

// Verdicts may come from many goroutines at once, each whole.
func TestConnTakesVerdictsFromAnyGoroutine(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	const each, goroutines = 50, 4
	for range each*goroutines + 1 {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	var wg sync.WaitGroup
	for g := range uint32(goroutines) {
		wg.Go(func() {
			for id := 2 + g; id <= each*goroutines+1; id += goroutines {
				if err := c.SetVerdict(id, Accept, udp4(uint16(id), []byte("text"))); err != nil {
					t.Error(err)
				}
				if err := c.SetVerdictBatch(1, Drop); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for id := uint32(2); id <= each*goroutines+1; id++ {
		if v := f.verdict(id); v.Batch || !bytes.Equal(v.Payload(), udp4(uint16(id), []byte("text"))) {
			t.Errorf("packet %d: %+v", id, v)
		}
	}
}

// SetVerdict leaves checksums alone when it is told to, and a slice that it was
// given in any case.
func TestConnKeepsChecksums(t *testing.T) {
	for _, keep := range []bool{false, true} {
		f := newFake(t)
		c := f.connect(Config{KeepChecksums: keep})
		wrong := udp4(1, []byte("text"))
		wrong[28] ^= 0xff
		given := bytes.Clone(wrong)
		if err := c.SetVerdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}), Accept, given); err != nil {
			t.Fatal(err)
		}
		v := f.verdict(1)
		if zerocopy.VerifyPacket(v.Payload()) == keep || !bytes.Equal(given, wrong) {
			t.Errorf("KeepChecksums %v: % x, of % x", keep, v.Payload(), given)
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
