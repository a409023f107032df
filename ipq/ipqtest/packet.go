package ipqtest

import (
	"fmt"

	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/seam"
	"github.com/goipq/goipq/ipq"
)

// Packet returns a packet as a handler gets it, for a test of a handler, or of a part
// of one, that needs no queue. It can be read and edited; it cannot be deferred, and
// nobody takes a verdict on it. It panics if the options make no packet that can be
// decoded.
func Packet(b []byte, options ...Option) *ipq.Packet {
	p := packet{devices: newDevices()}
	p.Payload = b
	for _, o := range options {
		o(&p)
	}
	const id, queue = 1, 0
	decoded, err := seam.Packet(p.Message(queue, id), nfsock.Unconnected(p.devices.names))
	if err != nil {
		panic(fmt.Sprintf("ipqtest: a packet that cannot be decoded: %v", err))
	}
	return decoded.(*ipq.Packet)
}
