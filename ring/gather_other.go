//go:build !linux

package ring

import "syscall"

// A Gather is a list of byte slices that leave in one datagram.
type Gather struct {
	pieces, n, size int
}

// NewGather returns a Gather for up to pieces slices.
func NewGather(pieces, _ int) *Gather { return &Gather{pieces: pieces} }

// Reset empties the list.
func (g *Gather) Reset() { g.n, g.size = 0, 0 }

// Add appends b. It reports false when the list is full.
func (g *Gather) Add(b []byte) bool {
	if g.n == g.pieces {
		return false
	}
	g.n++
	g.size += len(b)
	return true
}

// Len returns how many slices are in the list.
func (g *Gather) Len() int { return g.n }

// Size returns how many bytes the list holds.
func (g *Gather) Size() int { return g.size }

// Send returns ENOSYS, which matches [errors.ErrUnsupported].
func (g *Gather) Send(int) syscall.Errno { return syscall.ENOSYS }
