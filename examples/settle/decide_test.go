package main

import (
	"testing"

	"github.com/goipq/goipq/examples/internal/extest"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/ipqtest"
)

// The verdict by itself, with its wish to settle the flow.
func TestDecide(t *testing.T) {
	for what, x := range map[string]struct {
		packet []byte
		want   ipq.Verdict
	}{
		"UDP to port 9":       {extest.PacketTo(extest.UDP, 9, 0), ipq.Drop.Bypass()},
		"UDP to port 10":      {extest.PacketTo(extest.UDP, 10, 0), ipq.Accept},
		"TCP to port 9":       {extest.PacketTo(extest.TCP, 9, 0), ipq.Accept},
		"UDP that is cut off": {extest.PacketTo(extest.UDP, 10, 0)[:22], ipq.Drop},
	} {
		if v := decide(ipqtest.Packet(x.packet)); v != x.want {
			t.Errorf("%s: %v, want %v", what, v, x.want)
		}
	}
}
