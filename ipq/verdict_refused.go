package ipq

import (
	"errors"
	"syscall"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// writeSingly sends the messages in list one by one, after the socket has
// refused them together with EMSGSIZE: its send buffer has become smaller than
// it was. A payload that it does not take by itself leaves its packet to the
// verdict on what cannot be decoded, so that it has one all the same.
func (w *writer) writeSingly() error {
	one := ring.NewGather(2, 1)
	for i := 0; i < w.list.Len(); i++ {
		for b := w.list.Piece(i); len(b) > 0; {
			h, msg, rest, ok := zerocopy.NextMessage(b)
			if !ok {
				break // cannot be: the messages are this writer's own
			}
			one.Reset()
			one.Add(msg)
			if int(h.Len) > len(msg) { // its payload is the next piece
				i++
				one.Add(w.list.Piece(i))
			}
			if err := w.writeOne(one, msg); err != nil {
				return err
			}
			b = rest
		}
	}
	return nil
}

// writeOne sends one message, or what takes its place.
func (w *writer) writeOne(one *ring.Gather, msg []byte) error {
	err := w.sock.write(one, w.count)
	if !errors.Is(err, syscall.EMSGSIZE) {
		return err
	}
	w.tally[countTooLarge]++
	// It was counted as what it would have been.
	w.tally[kindOf(Verdict(zerocopy.VerdictOf(msg)))]--
	w.tally[countVerdicts]--
	v := w.tallied(w.cfg.onUndecodable(), byTooLarge)
	var plain [zerocopy.VerdictLen]byte
	zerocopy.PutVerdict(plain[:], w.sock.Queue(), zerocopy.VerdictID(msg), v.kernel())
	one.Reset()
	one.Add(plain[:])
	return w.sock.write(one, w.count)
}

// recentWrites is how many writes are remembered: more than there usually are
// before the loop comes to the answer to the first, which stands behind what the
// socket holds, a whole queue at most.
const recentWrites = 64

// wrote is what one write was to decide.
type wrote struct {
	seq   uint32        // nlmsg_seq of its first message, which the answer names
	fates [fates]uint32 // packets by kind of verdict, and by cause
}

// fates is the number of the counters of kinds and causes, from countAccepted on.
const fates = ofVerdicts - countAccepted

// note remembers the write of what list holds.
func (w *writer) note() {
	h, _ := zerocopy.ParseHeader(w.list.Piece(0))
	x := &w.recent[w.writes%len(w.recent)]
	x.seq = h.Seq
	for i := range x.fates {
		n := w.tally[countAccepted+counter(i)]
		x.fates[i] = uint32(n - w.sent[i])
		w.sent[i] = n
	}
	w.writes++
}

// uncount takes writes out of the counts that the kernel has refused as a whole:
// to each it answers once, to its first message.
func (w *writer) uncount(answered map[uint32]struct{}) {
	for i := range min(w.writes, len(w.recent)) {
		x := &w.recent[i]
		if _, ok := answered[x.seq]; !ok {
			continue
		}
		for i, n := range x.fates {
			fate := countAccepted + counter(i)
			w.count.add(fate, -uint64(n))
			if fate < countDroppedBy { // each packet has one kind
				w.count.add(countRefused, uint64(n))
			}
		}
		w.count.add(countRefused, ^uint64(0)) // the answer was counted as it came
	}
}
