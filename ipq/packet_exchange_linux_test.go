package ipq

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
)

// A packet whose buffer was exchanged stays as it came, and the packets after it come
// into the buffer that was given for it.
func TestExchange(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		kept := map[string][]byte{} // payloads, by what they should be
		mine := make([]byte, BufferSize)
		n := 0
		_, stop := f.serve(Config{Workers: workers, BatchSize: 2, Batches: 1}, func(p *Packet) Verdict {
			text := string(p.Payload())
			n++
			if n%3 == 0 {
				return Accept
			}
			old, ok := p.Exchange(mine)
			if !ok || len(old) != BufferSize || string(p.Payload()) != text {
				t.Errorf("packet %d: %d bytes, %v, %q", n, len(old), ok, p.Payload())
				return Accept
			}
			kept[text] = p.Payload()
			if mine = make([]byte, BufferSize); n%4 == 0 { // one that has lain in the queue
				delete(kept, text)
				mine = old
				clear(old) // as what comes next in it may, before the verdict is written
			}
			return Accept
		})
		for i := range 100 {
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, []byte(fmt.Sprint("text ", i)))}))
		}
		stop()
		f.check()
		for text, b := range kept {
			if string(b) != text {
				t.Errorf("%q became %q", text, b)
			}
		}
		if n != 100 || len(kept) < 40 {
			t.Errorf("%d packets, %d kept", n, len(kept))
		}
	})
}

// Where the buffer is not the handler's to give away, it stays where it is.
func TestExchangeIsRefused(t *testing.T) {
	for what, try := range map[string]func(p *Packet) (refused bool){
		"by length": func(p *Packet) bool {
			_, short := p.Exchange(make([]byte, BufferSize-1))
			_, long := p.Exchange(make([]byte, BufferSize+1))
			_, none := p.Exchange(nil)
			return !short && !long && !none
		},
		"when it was exchanged": func(p *Packet) bool {
			_, first := p.Exchange(make([]byte, BufferSize))
			_, second := p.Exchange(make([]byte, BufferSize))
			return first && !second
		},
		"when it was edited": func(p *Packet) bool {
			_, err := p.EditPayload()
			_, ok := p.Exchange(make([]byte, BufferSize))
			return err == nil && !ok
		},
		"when it was deferred": func(p *Packet) bool {
			d, err := p.Defer()
			if err != nil {
				return false
			}
			_, ok := p.Exchange(make([]byte, BufferSize))
			_, copied := d.Packet().Exchange(make([]byte, BufferSize))
			d.Verdict(Accept)
			return !ok && !copied
		},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFake(t)
			_, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict {
				if !try(p) {
					t.Error("it was taken, or what comes before was refused")
				}
				return Accept
			})
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
			stop()
		})
	}
	t.Run("after HandlerTimeout", func(t *testing.T) {
		f := newFake(t)
		decided := make(chan struct{})
		_, stop := f.serve(Config{Workers: Inline, HandlerTimeout: time.Millisecond}, func(p *Packet) Verdict {
			<-decided
			if _, ok := p.Exchange(make([]byte, BufferSize)); ok {
				t.Error("it was taken")
			}
			return Accept
		})
		f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		close(decided)
		stop()
	})
}

// What was read from a Conn stays as it came beyond the next read.
func TestExchangeOfConn(t *testing.T) {
	f := newFake(t)
	c := f.connect(Config{BatchSize: 1})
	var kept []byte
	for i := range 3 {
		f.queue(fakekernel.Packet{Payload: udp4(1, []byte{byte(i)})})
		p, err := c.Read(0)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			kept = p.Payload()
			if _, ok := p.Exchange(make([]byte, BufferSize)); !ok {
				t.Fatal("it was refused")
			}
		}
	}
	if !bytes.Equal(kept, udp4(1, []byte{0})) {
		t.Errorf("% x", kept)
	}
}
