package ipq

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

func TestConnReadsAndDecides(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{BatchSize: 3})
	for i := range 7 { // more than a batch
		f.queue(fakekernel.Packet{Mark: uint32(i), Payload: udp4(uint16(i), []byte("text"))})
	}
	for i := range 7 {
		p, err := c.Read(0)
		if err != nil {
			t.Fatal(err)
		}
		if p.ID() != uint32(i+1) || p.Mark() != uint32(i) || p.Flow().SrcPort != uint16(i) {
			t.Errorf("packet %d: id %d, mark %d, %v", i, p.ID(), p.Mark(), p.Flow())
		}
		switch i {
		case 0:
			err = c.SetVerdict(p.ID(), Accept.WithMark(5), nil)
		case 1:
			err = c.SetVerdict(p.ID(), Accept, append(p.Payload(), "er"...))
		case 2:
			if err = p.SetPayload(udp4(1, []byte("set"))); err == nil {
				p.SetPriority(9)
				err = c.Decide(p, Accept)
			}
		case 6:
			err = c.SetVerdictBatch(p.ID(), Drop)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if v := f.verdict(1); !bytes.Equal(v.Attrs[zerocopy.AttrMark], []byte{0, 0, 0, 5}) {
		t.Errorf("mark: %+v", v)
	}
	if v := f.verdict(2); !bytes.Equal(v.Payload(), udp4(1, []byte("texter"))) {
		t.Errorf("payload of SetVerdict: % x", v.Payload())
	}
	if v := f.verdict(3); !bytes.Equal(v.Payload(), udp4(1, []byte("set"))) || !bytes.Equal(v.Attrs[zerocopy.AttrPriority], []byte{0, 0, 0, 9}) {
		t.Errorf("edits of Decide: %+v", v)
	}
	for id := uint32(4); id <= 7; id++ {
		if v := f.verdict(id); !v.Batch || v.Verdict != 0 {
			t.Errorf("packet %d: %+v", id, v)
		}
	}
	f.check()
}

func TestConnTimeouts(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	for _, timeout := range []time.Duration{-1, time.Millisecond} {
		if p, err := c.Read(timeout); p != nil || err != ErrTimeout || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("timeout %v: %v, %v", timeout, p, err)
		}
	}
	id := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	for _, timeout := range []time.Duration{-1, time.Minute, 0} {
		p, err := c.Read(timeout)
		if err != nil || p.ID() != id {
			t.Fatalf("timeout %v: %v", timeout, err)
		}
		id = f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
}

func TestConnReadBatch(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{BatchSize: 8})
	for range 3 {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	refusal := fakekernel.ErrorMessage(2, zerocopy.TypeVerdict, 77)
	if err := f.Send(refusal); err != nil {
		t.Fatal(err)
	}
	f.queue(fakekernel.Packet{Payload: udp4(1, nil)})

	ps, err := c.ReadBatch(0)
	if err != nil || len(ps) != 3 || ps[2].ID() != 3 {
		t.Fatalf("%d packets, %v", len(ps), err)
	}
	var v *VerdictError
	if ps, err = c.ReadBatch(0); !errors.As(err, &v) || v.ID != 77 || v.Errno != syscall.ENOENT || ps != nil {
		t.Fatalf("%d packets, %v; want the refusal", len(ps), err)
	}
	if ps, err = c.ReadBatch(0); err != nil || len(ps) != 1 || ps[0].ID() != 4 {
		t.Fatalf("%d packets, %v", len(ps), err)
	}
}

func TestConnReportsTheUndecodable(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	id := f.queue(fakekernel.Packet{Raw: fakekernel.Attr(nil, zerocopy.AttrMark, []byte{1})})
	p, err := c.Read(0)
	if !errors.Is(err, ErrUndecodable) || p == nil || p.ID() != id {
		t.Fatalf("%v, %v", p, err)
	}
	if err := c.SetVerdict(id, Drop, nil); err != nil {
		t.Fatal(err)
	}
	f.verdict(id)
	f.check()
}

func TestConnCloseEndsRead(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	done := make(chan error)
	go func() {
		_, err := c.Read(0)
		done <- err
	}()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("Read: %v", err)
	}
	if _, err := c.Read(-1); !errors.Is(err, ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if err := c.SetVerdict(1, Accept, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("SetVerdict after Close: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestConnRefusesBadVerdicts(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	for what, err := range map[string]error{
		"NF_STOLEN":          c.SetVerdict(1, 2, nil),
		"batch of NF_STOLEN": c.SetVerdictBatch(1, 2),
		"batch with a mark":  c.SetVerdictBatch(1, Accept.WithMark(1)),
		"no IP":              c.SetVerdict(1, Accept, []byte("text")),
		"too large":          c.SetVerdict(1, Accept, make([]byte, 65532)),
	} {
		if err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestConnSetMode(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{SnapLen: 1000})
	for _, x := range []struct {
		mode CopyMode
		snap int
		want string
	}{{CopyMeta, 0, "\x00\x00\x03\xe8\x01"}, {CopyPacket, 20, "\x00\x00\x00\x14\x02"}, {CopyPacket, 2000, "\x00\x00\x03\xe8\x02"}} {
		if err := c.SetMode(x.mode, x.snap); err != nil {
			t.Fatal(err)
		}
		all := f.Configs()
		if got := string(all[len(all)-1][zerocopy.CfgParams]); got != x.want {
			t.Errorf("%v %d: %q, want %q", x.mode, x.snap, got, x.want)
		}
	}
}

// After Close nothing but ErrClosed comes, whatever was received before.
func TestConnAfterClose(t *testing.T) {
	for _, batch := range []bool{false, true} {
		connAfterClose(t, batch)
	}
}

func connAfterClose(t *testing.T, batch bool) {
	f := newFake(t)
	c := f.connect(Config{BatchSize: 10})
	for range 3 {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	if err := f.Send([]byte("no message")); err != nil {
		t.Fatal(err)
	}
	p, err := c.Read(0)
	if err != nil {
		t.Fatal(err)
	}
	id := p.ID()
	if batch { // which leaves an error for the next read
		if _, err := c.ReadBatch(0); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for what, call := range map[string]func() error{
		"Read":            func() error { _, err := c.Read(0); return err },
		"ReadBatch":       func() error { _, err := c.ReadBatch(-1); return err },
		"SetMode":         func() error { return c.SetMode(CopyMeta, 0) },
		"SetVerdict":      func() error { return c.SetVerdict(id, Accept, nil) },
		"SetVerdictBatch": func() error { return c.SetVerdictBatch(id, Accept) },
		"Decide":          func() error { return c.Decide(p, Accept) },
	} {
		for range 2 {
			if err := call(); !errors.Is(err, ErrClosed) || !errors.As(err, new(*OpError)) {
				t.Errorf("%s after Close: %v", what, err)
			}
		}
	}
}

// A Conn whose right, or queue, is gone says so.
func TestConnWithoutItsQueue(t *testing.T) {
	for errno, is := range map[syscall.Errno]func(error) bool{
		syscall.ENODEV: func(err error) bool { return errors.Is(err, ErrUnbound) },
		syscall.EPERM:  func(err error) bool { return errors.As(err, new(*CapabilityError)) },
	} {
		for typ, verdict := range map[uint16]bool{zerocopy.TypeVerdict: true, zerocopy.TypeConfig: false} {
			f := newFake(t)
			c := f.connect(Config{})
			if err := f.Send(fakekernel.ErrorMessage(uint32(errno), typ, 9)); err != nil {
				t.Fatal(err)
			}
			_, err := c.Read(0)
			if v := (*VerdictError)(nil); !is(err) || !errors.Is(err, errno) || errors.As(err, &v) != verdict || verdict && v.ID != 9 {
				t.Errorf("%v: %v", errno, err)
			}
		}
	}
}

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

// Conn repeats writes, too.
func TestConnRepeatsWrites(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{})
	const n = 2000
	for id := range uint32(n) {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		p, err := c.Read(0)
		if err != nil || p.ID() != id+1 {
			t.Fatal(err)
		}
		if err := c.Decide(p, Accept); err != nil {
			t.Fatal(err)
		}
	}
	f.verdict(n)
	f.check()
}

// Verdicts that are given while one is being written leave in one write.
func TestConnVerdictsShareWrites(t *testing.T) {
	f := newFake(t)
	const packets = 100
	var writes atomic.Int64
	began, goOn := make(chan struct{}), make(chan struct{})
	f.alter = func(s *socket) {
		send := s.send
		s.send = func(g *ring.Gather, fd int) syscall.Errno {
			if writes.Add(1) == 1 {
				close(began)
				<-goOn
			}
			return send(g, fd)
		}
	}
	c := f.connect(Config{})
	for range packets {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	var all sync.WaitGroup
	give := func(id uint32) {
		all.Go(func() {
			if err := c.SetVerdict(id, Accept, udp4(uint16(id), []byte("text"))); err != nil {
				t.Errorf("packet %d: %v", id, err)
			}
		})
	}
	give(1)
	<-began
	for id := uint32(2); id <= packets; id++ {
		give(id)
	}
	await(t, "the others", func() bool {
		c.verdicts.mu.Lock()
		defer c.verdicts.mu.Unlock()
		return c.verdicts.filling.users == packets-1
	})
	close(goOn)
	all.Wait()
	if n := writes.Load(); n != 2 {
		t.Errorf("%d writes", n)
	}
	for id := uint32(1); id <= packets; id++ {
		if v := f.verdict(id); v.Verdict != uint32(Accept) || !bytes.Equal(v.Payload(), udp4(uint16(id), []byte("text"))) {
			t.Errorf("packet %d: %+v", id, v)
		}
	}
	f.check()
}

// A write that the socket does not take is made in parts, and what does not fit by itself
// is an error of those who share it.
func TestConnVerdictsOutgrowTheSocket(t *testing.T) {
	f := newFake(t)
	f.alter = func(s *socket) {
		send := s.send
		s.send = func(g *ring.Gather, fd int) syscall.Errno {
			if g.Size() > zerocopy.MaxVerdictLen {
				return syscall.EMSGSIZE
			}
			return send(g, fd)
		}
	}
	c := f.connect(Config{})
	for range 3 {
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	}
	c.verdicts.mu.Lock() // as if they were given at once
	c.verdicts.writing = true
	c.verdicts.mu.Unlock()
	var all sync.WaitGroup
	for id := range uint32(3) {
		all.Go(func() {
			if err := c.SetVerdictWith(id+1, Accept.WithMark(id), VerdictOptions{Priority: 1, HasPriority: true, ConnMark: 2, ConnMask: 3}); err != nil {
				t.Error(err)
			}
		})
	}
	await(t, "all three", func() bool {
		c.verdicts.mu.Lock()
		defer c.verdicts.mu.Unlock()
		return c.verdicts.filling.users == 3
	})
	c.verdicts.mu.Lock()
	c.verdicts.writing = false
	c.verdicts.change.Broadcast()
	c.verdicts.mu.Unlock()
	all.Wait()
	for id := range uint32(3) {
		v := f.verdict(id + 1)
		if mark, _ := v.U32(zerocopy.AttrMark); mark != id {
			t.Errorf("packet %d: mark %d", id+1, mark)
		}
	}
	if err := c.SetVerdict(1, Accept, udp4(1, make([]byte, 500))); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("a payload that does not fit: %v", err)
	}
}
