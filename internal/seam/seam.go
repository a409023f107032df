// Package seam is how tests put something else in the place of the kernel's sockets
// under package ipq: what is here is set by ipq and called by ipq/ipqtest. It keeps
// both from having to export it to everybody.
package seam

import (
	"syscall"

	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/ring"
)

// A Link is a socket with the two calls by which packets and verdicts pass.
type Link struct {
	Socket *nfsock.Socket
	Recv   func(b *ring.Batch, fd int) (int, syscall.Errno)
	Send   func(g *ring.Gather, fd int) syscall.Errno
}

var (
	// Open returns the *ipq.Queue for an ipq.Config, on links that dial makes.
	Open func(cfg any, dial func(*nfsock.Options) (Link, error)) (queue any, err error)
	// Packet returns the *ipq.Packet that a message from the kernel, which is copied,
	// decodes to.
	Packet func(msg []byte, s *nfsock.Socket) (packet any, err error)
)
