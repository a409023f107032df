package main

import (
	"testing"

	"github.com/goipq/goipq/examples/internal/extest"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/ipqtest"
)

// What the service is for, apart from how it runs.
func TestDecide(t *testing.T) {
	for what, x := range map[string]struct {
		packet []byte
		want   ipq.Verdict
	}{
		"UDP to port 9":       {extest.PacketTo(extest.UDP, 9, 0), ipq.Drop},
		"UDP to port 10":      {extest.PacketTo(extest.UDP, 10, 0), ipq.Accept},
		"a fragment of UDP":   {extest.PacketTo(extest.UDP, 10, 0x2000), ipq.Drop},
		"UDP that is cut off": {extest.PacketTo(extest.UDP, 10, 0)[:22], ipq.Drop},
	} {
		if v := decide(ipqtest.Packet(x.packet)); v != x.want {
			t.Errorf("%s: %v, want %v", what, v, x.want)
		}
	}
}
