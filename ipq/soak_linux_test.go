package ipq

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/soak"
)

// A long run on the real kernel loses no packet, decides none twice, and holds
// no more at its end than after its start. How long, GOIPQ_SOAK says.
//
//	GOIPQ_SOAK=60s go test ./ipq -run KernelSoak -v
func TestKernelSoak(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		echoRules(t, ns, fakeNumber, 1)
		before, fds := goroutines(), descriptors(t)
		h := &soaked{later: make(chan *Deferred, 64), done: make(chan struct{})}
		go h.decideLater()
		q, stop := serve(t, Config{
			Queue: fakeNumber, NetNS: ns.FD(), Workers: workers,
			OnPanic: Always(Accept), HandlerTimeout: time.Minute, DeferTimeout: time.Minute,
		}, h)
		sent := soakFlood(t, ns, q)
		if err := errors.Join(stop(), q.Close()); err != nil {
			t.Error(err)
		}
		close(h.later)
		<-h.done
		s := q.Stats()
		if s.Received != sent || s.Verdicts != sent || s.UnknownVerdicts+s.RefusedVerdicts+s.Undecodable != 0 {
			t.Errorf("%d packets were sent: %+v", sent, s)
		}
		if s.Panics == 0 || s.Deferred == 0 || s.Modified == 0 || s.DeferExpired+s.DeferRefused+s.TimedOut != 0 || h.err != nil {
			t.Errorf("%v; %+v", h.err, s)
		}
		t.Logf("%d packets, each decided once: %d deferred, %d modified, %d by OnPanic", sent, s.Deferred, s.Modified, s.Panics)
		settle(t, "goroutines", before, goroutines)
		settle(t, "descriptors", fds, func() int { return descriptors(t) })
	})
}

// soakFlood floods the queue in a closed loop, whose window is less than what
// the kernel would drop any of, for an ordinary user, too, and looks at what the process holds meanwhile.
// It returns how many packets were sent, all of which were answered once.
func soakFlood(t *testing.T, ns *netlab.NS, q *Queue) (sent uint64) {
	t.Helper()
	f := startFlood(t, ns, flood.Config{Window: 256, Timeout: time.Minute})
	const samples = 16
	duration := soak.Duration(t, time.Second)
	var held []holding
	tick := time.NewTicker(duration / samples)
	defer tick.Stop()
	for range samples {
		<-tick.C
		held = append(held, hold(t))
	}
	if err := flat(held, max(0, q.cfg.Workers)); err != nil {
		t.Error(err)
	}
	s, err := f.Stop()
	if err != nil {
		t.Error(err)
	}
	if s.Replies != s.Sent || s.Replies == 0 || s.Lost+s.Late+s.Duplicates != 0 {
		t.Errorf("not every packet came through once: %+v; %+v", s, q.Stats())
	}
	return s.Sent
}

// soaked is a handler that does all that handlers may.
type soaked struct {
	later chan *Deferred
	done  chan struct{}
	err   error
}

// HandlePacket implements Handler.
func (h *soaked) HandlePacket(p *Packet) Verdict {
	switch id := p.ID(); {
	case id%64 == 1:
		// The same again: the engine sends it with the verdict all the same.
		if err := p.SetPayload(bytes.Clone(p.Payload())); err != nil {
			panic(err)
		}
	case id%256 == 2:
		if d, err := p.Defer(); err == nil {
			h.later <- d
		}
		return Drop
	case id%4096 == 3:
		panic("as handlers do")
	case id%4096 == 4:
		runtime.Gosched()
	}
	return Accept
}

func (h *soaked) decideLater() {
	defer close(h.done)
	for d := range h.later {
		if err := d.Verdict(Accept); err != nil && h.err == nil {
			h.err = err
		}
	}
}

// A holding is what the process holds at a time.
type holding struct {
	resident, heap, goroutines, descriptors int
}

func hold(t *testing.T) holding {
	t.Helper()
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(statm), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return holding{pages * os.Getpagesize(), int(mem.HeapAlloc), goroutines(), descriptors(t)}
}

// flat compares the second quarter, after what the Go runtime takes at first,
// with the last. The pool starts its workers when there is work for them all, and
// lets them go when there is not.
func flat(held []holding, workers int) error {
	n := len(held) / 4
	for _, x := range []struct {
		what  string
		of    func(holding) int
		slack int // for what the runtime itself takes now and then
	}{
		{"bytes of resident memory", func(h holding) int { return h.resident }, 4 << 20},
		{"bytes of live heap", func(h holding) int { return h.heap }, 256 << 10},
		{"goroutines", func(h holding) int { return h.goroutines }, workers},
		{"descriptors", func(h holding) int { return h.descriptors }, 0},
	} {
		middle := func(held []holding) int {
			var values []int
			for _, h := range held {
				values = append(values, x.of(h))
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		if then, now := middle(held[n:2*n]), middle(held[3*n:]); now > then+x.slack {
			return fmt.Errorf("%s grew from %d to %d", x.what, then, now)
		}
	}
	return nil
}
