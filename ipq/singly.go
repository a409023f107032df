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
// fallback, so that it has a verdict all the same.
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
	err := w.sock.write(one, &w.count.retries)
	if !errors.Is(err, syscall.EMSGSIZE) {
		return err
	}
	w.tooLarge++
	var plain [zerocopy.VerdictLen]byte
	zerocopy.PutVerdict(plain[:], w.sock.Queue(), zerocopy.VerdictID(msg), w.fallback.kernel())
	one.Reset()
	one.Add(plain[:])
	return w.sock.write(one, &w.count.retries)
}
