package stream

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/goipq/goipq/ipq"
)

// A pattern that is cut at any offset, whose parts come in any order or by
// retransmission, is stopped: the receiver reads nothing from the segment on that
// completes it.
func TestKernelPatternAtEveryOffset(t *testing.T) {
	t.Parallel()
	const before, pattern, after = "before ", "attack", " after"
	const text = before + pattern + after
	for _, v6 := range []bool{false, true} {
		for _, workers := range []int{ipq.Inline, 2} {
			t.Run(fmt.Sprintf("v6=%v,workers=%d", v6, workers), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, ipq.Config{Queue: 7, Queues: 2, Workers: workers, GSO: true}, Config{MaxConns: 1000, MaxMemory: 4 << 20}, v6, false)
				w.say = func(data []byte) Decision {
					if bytes.Contains(data, []byte(pattern)) {
						return Drop
					}
					return Continue
				}
				type part struct {
					from, to int
					lost     bool // behind the Engine
				}
				tried := 0
				try := func(name, want string, parts ...part) {
					t.Helper()
					tried++
					if err := w.stops(uint16(20000+tried), text, want, func(send func(from, to int, lost bool) error, read func(n int) error) error {
						for i, p := range parts {
							if i == len(parts)-1 { // which completes the pattern
								if err := read(len(want)); err != nil {
									return err
								}
							}
							if err := send(p.from, p.to, p.lost); err != nil {
								return err
							}
						}
						return nil
					}); err != nil {
						t.Errorf("%s, %v: %v", name, parts, err)
					}
					if s := w.e.Stats(); s.Closed[Dropped] != uint64(tried) {
						t.Errorf("%s, %v: not stopped: %+v", name, parts, s)
					}
				}
				for cut := 1; cut < len(pattern); cut++ {
					k, end := len(before)+cut, len(text)
					try("in order", text[:k], part{0, k, false}, part{k, end, false})
					try("out of order", "", part{k, end, false}, part{0, k, false})
					try("the middle last", text[:k-1], part{0, k - 1, false}, part{k, end, false}, part{k - 1, k, false})
					try("by a retransmission with more", text[:k], part{0, k, false}, part{0, end, false})
					try("by a retransmission of all, which was lost", "", part{0, k, true}, part{0, end, false})
					try("over a part that was lost", "", part{0, k, true}, part{k, end, false})
					try("overlapping", text[:k], part{0, k, false}, part{k - 1, end, false})
				}
				var bytewise []part
				for i := range len(before + pattern) {
					bytewise = append(bytewise, part{i, i + 1, false})
				}
				try("one by one", text[:len(before+pattern)-1], bytewise...)
			})
		}
	}
}

// stops opens a connection, has parts of text sent in it, and then everything once more.
// It returns an error unless the application has read exactly what it should.
func (w *world) stops(port uint16, text, want string, parts func(send func(from, to int, lost bool) error, read func(n int) error) error) error {
	a := w.assault(port)
	seq, ackSeq, err := a.open(rand.New(rand.NewPCG(rand.Uint64(), 0)))
	if err == nil {
		err = a.await("an application", func() bool { return len(a.victims) == 1 })
	}
	send := func(from, to int, lost bool) error {
		p := packet{segment: segment{flags: ack, seq: seq + uint32(from), ack: ackSeq, window: 65535, data: []byte(text[from:to])}, lost: lost}
		return errors.Join(a.send(&p, false), a.settled())
	}
	if err == nil {
		err = parts(send, a.awaitRead)
	}
	for i := range text { // what else a sender would try
		err = errors.Join(err, send(i, i+1, false), send(0, i+1, false))
	}
	err = errors.Join(err, a.send(&packet{segment: segment{flags: ack | fin, seq: seq + uint32(len(text)), ack: ackSeq, window: 65535}}, false), a.settled(), w.decided(a))
	victims, _ := a.end()
	if err == nil && string(victims[0].read) != want {
		err = fmt.Errorf("read %q, want %q", victims[0].read, want)
	}
	return err
}

// decided waits until all packets that the queues have received have their verdicts.
func (w *world) decided(a *assault) error {
	return a.until("verdicts", func() bool {
		s := w.queue.Stats()
		if s.Verdicts >= s.Received {
			return true
		}
		time.AfterFunc(time.Millisecond, a.tell)
		return false
	})
}
