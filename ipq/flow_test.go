package ipq

import (
	"net/netip"
	"testing"

	"github.com/goipq/goipq/internal/zerocopy"
)

func TestFlow(t *testing.T) {
	f := flowOf(append(ipv4UDP, 0, 53, 1, 2, 0, 8, 0, 0))
	want := Flow{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.51.100.2"), SrcPort: 53, DstPort: 258, Protocol: 17}
	if f != want {
		t.Errorf("%v, want %v", f, want)
	}
	if s := f.String(); s != "udp 192.0.2.1:53 > 198.51.100.2:258" {
		t.Error(s)
	}
	if r := f.Reverse(); r == f || r.Reverse() != f || r.SrcPort != 258 || r.Src != f.Dst {
		t.Errorf("reverse: %v", r)
	}
	if f.Hash() != f.Reverse().Hash() {
		t.Error("the hash depends on the direction")
	}
	if g := (Flow{}); g.IsValid() || g.String() != "no flow" || flowOf([]byte("no IP")) != g {
		t.Errorf("zero flow: %v", g)
	}
}

// The hash of a Flow is the one that the engine steers by.
func TestFlowHashIsThatOfThePacket(t *testing.T) {
	for _, ip := range [][]byte{
		append(ipv4UDP, 0, 53, 1, 2, 0, 8, 0, 0),
		append([]byte{0x60, 0, 0, 0, 0, 8, 58, 64, 0x20, 1, 15: 1, 16: 0x20, 31: 2, 32: 0, 39: 0}, 128, 0, 0, 0, 1, 2, 0, 0),
		{},
	} {
		if got, want := flowOf(ip).Hash(), zerocopy.HashFlow(ip, flowSeed); got != want {
			t.Errorf("% x: %#x, want %#x", ip, got, want)
		}
	}
}

var ipv4UDP = []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2}
