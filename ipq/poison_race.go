//go:build race

package ipq

import "github.com/goipq/goipq/ring"

// poison ends the life of the batch's packets: whoever kept one is reported
// by the race detector, and finds it empty.
func (b *batch) poison() {
	for i := range b.Len() {
		p := &b.packets[i]
		*p = Packet{sock: p.sock}
	}
}

// poison ends the life of a copy.
func (e *deferral) poison() {
	for i := range e.buf {
		e.buf[i] = ring.Poison
	}
	e.packet = Packet{sock: e.packet.sock}
}
