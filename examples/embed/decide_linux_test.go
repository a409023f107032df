package main

import (
	"encoding/binary"
	"testing"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/ipqtest"
)

// packetTo returns an IPv4 packet of that protocol to that port. Handlers do not care
// for its checksums.
func packetTo(protocol byte, port uint16, fragment uint16) []byte {
	b := make([]byte, 40)
	b[0], b[3], b[8], b[9] = 0x45, 40, 64, protocol
	binary.BigEndian.PutUint16(b[6:], fragment)
	copy(b[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(b[22:], port)
	b[25] = 20 // the UDP length
	return b
}

// What the handler is for, without a queue to run it on.
func TestDecide(t *testing.T) {
	const tcp, udp = 6, 17
	q := ipqtest.New(t, ipq.Config{})
	q.Run(ipq.HandlerFunc(decide))
	for what, x := range map[string]struct {
		packet []byte
		want   ipq.Verdict
	}{
		"UDP to port 9":       {packetTo(udp, 9, 0), ipq.Drop},
		"UDP to port 10":      {packetTo(udp, 10, 0), ipq.Accept},
		"TCP to port 9":       {packetTo(tcp, 9, 0), ipq.Accept},
		"a fragment of UDP":   {packetTo(udp, 10, 0x2000), ipq.Drop},
		"UDP that is cut off": {packetTo(udp, 10, 0)[:22], ipq.Drop},
	} {
		if r := q.Send(x.packet); r.Verdict != x.want {
			t.Errorf("%s: %v, want %v", what, r.Verdict, x.want)
		}
	}
}
