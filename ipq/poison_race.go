//go:build race

package ipq

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
		e.buf[i] = 0xDB // as the ring does
	}
	e.packet = Packet{sock: e.packet.sock}
}
