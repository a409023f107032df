//go:build !linux

package ring

import "syscall"

// A Gather is a list of byte slices that leave in one datagram.
type Gather struct {
	pieces [][]byte
	size   int
}

// NewGather returns a Gather for up to pieces slices.
func NewGather(pieces, _ int) *Gather { return &Gather{pieces: make([][]byte, 0, pieces)} }

// Reset empties the list.
func (g *Gather) Reset() { g.pieces, g.size = g.pieces[:0], 0 }

// Add appends b. It reports false when the list is full.
func (g *Gather) Add(b []byte) bool {
	if len(g.pieces) == cap(g.pieces) {
		return false
	}
	g.pieces = append(g.pieces, b)
	g.size += len(b)
	return true
}

// Len returns how many slices are in the list.
func (g *Gather) Len() int { return len(g.pieces) }

// Size returns how many bytes the list holds.
func (g *Gather) Size() int { return g.size }

// Piece returns slice i of the list, for i < Len.
func (g *Gather) Piece(i int) []byte { return g.pieces[i] }

// Send returns ENOSYS, which matches [errors.ErrUnsupported].
func (g *Gather) Send(int) syscall.Errno { return syscall.ENOSYS }
