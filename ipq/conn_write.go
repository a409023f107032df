package ipq

import (
	"errors"
	"sync"
	"syscall"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// A bundle is the verdicts of a Conn that leave in one write: those that were given while
// the one before it was under way. So nobody waits for others to come, and those who give
// verdicts at the same time share the calls.
type bundle struct {
	buf     []byte // messages, one behind the other, with their payloads
	users   int    // who have verdicts in it, and have not returned
	written bool
	err     error
}

// bundles are the write side of a Conn.
type bundles struct {
	sock  *socket
	count counters // which nobody asks for

	mu      sync.Mutex
	change  sync.Cond // signalled when a bundle is written
	filling *bundle   // takes verdicts
	free    []*bundle
	writing bool
	list    *ring.Gather // of who is writing
	payload []byte       // a copy, with room for padding
}

func (b *bundles) init(sock *socket) {
	b.sock, b.change.L, b.filling = sock, &b.mu, &bundle{}
	// A batch verdict can decide all that the kernel holds, so the calls are not raw.
	b.list = ring.NewGather(1, maxMaxQueueLen)
}

// give has a message leave that put appends to a bundle, and returns when it is written.
// It is no longer than most.
func (b *bundles) give(most int, put func(buf []byte) []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.filling.buf) > 0 && len(b.filling.buf)+most > b.sock.sendLimit {
		b.change.Wait() // there is one before it
	}
	f := b.filling
	f.buf = put(f.buf)
	f.users++
	for !f.written {
		if b.writing {
			b.change.Wait()
			continue
		}
		b.writing, b.filling = true, b.next()
		b.mu.Unlock()
		err := b.write(f.buf)
		b.mu.Lock()
		b.writing, f.written, f.err = false, true, err
		b.change.Broadcast()
	}
	err := f.err
	if f.users--; f.users == 0 {
		b.free = append(b.free, f)
	}
	return err
}

// next returns an empty bundle. The caller holds mu.
func (b *bundles) next() *bundle {
	n := len(b.free)
	if n == 0 {
		return &bundle{}
	}
	f := b.free[n-1]
	b.free = b.free[:n-1]
	*f = bundle{buf: f.buf[:0]}
	return f
}

// write sends messages in one datagram, or, where the socket does not take that any more,
// one by one.
func (b *bundles) write(messages []byte) error {
	var err error
	// Control, so that a Close meanwhile does not pull the descriptor away.
	if cerr := b.sock.Raw().Control(func(uintptr) {
		if err = b.send(messages); !errors.Is(err, syscall.EMSGSIZE) {
			return
		}
		err = nil
		for rest := messages; len(rest) > 0; {
			_, msg, behind, ok := zerocopy.NextMessage(rest)
			if !ok {
				break // cannot be: the messages are its own
			}
			err = errors.Join(err, b.send(rest[:len(msg)+zerocopy.Pad(len(msg))]))
			rest = behind
		}
	}); cerr != nil {
		return b.sock.fail("verdict", ErrClosed)
	}
	return err
}

func (b *bundles) send(messages []byte) error {
	b.list.Reset()
	b.list.Add(messages)
	return b.sock.write(b.list, &b.count)
}
