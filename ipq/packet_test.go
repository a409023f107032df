package ipq

import (
	"net/netip"
	"testing"

	"github.com/goipq/goipq/internal/zerocopy"
)

func TestHookString(t *testing.T) {
	for h, want := range map[Hook]string{
		Prerouting: "prerouting", Input: "input", Forward: "forward", Output: "output", Postrouting: "postrouting", 9: "hook 9",
	} {
		if h.String() != want {
			t.Errorf("hook %d: %q, want %q", h, h.String(), want)
		}
	}
}

func TestConntrackStateString(t *testing.T) {
	for s, want := range map[ConntrackState]string{
		CTEstablished: "established", CTRelated: "related", CTNew: "new", CTEstablishedReply: "established, reply",
		CTRelatedReply: "related, reply", 5: "state 5",
	} {
		if s.String() != want {
			t.Errorf("state %d: %q, want %q", s, s.String(), want)
		}
	}
}

func TestFlowString(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	for want, f := range map[string]Flow{
		"tcp [2001:db8::1]:1 > [2001:db8::2]:2":                  {Src: a, Dst: b, SrcPort: 1, DstPort: 2, Protocol: 6},
		"icmp [2001:db8::1]:3 > [2001:db8::2]:3":                 {Src: a, Dst: b, SrcPort: 3, DstPort: 3, Protocol: 1},
		"icmpv6 [2001:db8::1]:3 > [2001:db8::2]:3":               {Src: a, Dst: b, SrcPort: 3, DstPort: 3, Protocol: 58},
		"protocol 47 [2001:db8::1]:0 > [2001:db8::2]:0":          {Src: a, Dst: b, Protocol: 47},
		"udp fragment 2001:db8::1 > 2001:db8::2":                 {Src: a, Dst: b, Protocol: 17, Fragment: true},
		"unknown udp 2001:db8::1 > 2001:db8::2":                  {Src: a, Dst: b, Protocol: 17, Unknown: true},
		"unknown protocol 60 fragment 2001:db8::1 > 2001:db8::2": {Src: a, Dst: b, Protocol: 60, Fragment: true, Unknown: true},
		"protocol 132 [2001:db8::1]:4 > [2001:db8::2]:5":         {Src: a, Dst: b, SrcPort: 4, DstPort: 5, Protocol: 132},
	} {
		if f.String() != want {
			t.Errorf("%q, want %q", f.String(), want)
		}
	}
}

// All fragments of a datagram are one flow, the first included, and not that
// of whole packets.
func TestFragmentsAreAFlow(t *testing.T) {
	whole := append(append([]byte(nil), ipv4UDP...), 0, 53, 1, 2, 0, 8, 0, 0)
	first := append([]byte(nil), whole...)
	first[6] = 0x20 // more fragments
	last := append([]byte(nil), whole...)
	last[7] = 1 // offset 8
	f := flowOf(first)
	if f != flowOf(last) || !f.Fragment || f.SrcPort != 0 || f == flowOf(whole) {
		t.Errorf("first %v, last %v, whole %v", f, flowOf(last), flowOf(whole))
	}
	other := f
	other.Fragment = false
	if f.Hash() != flowOf(last).Hash() || f.Hash() == other.Hash() {
		t.Error("the hash does not tell fragments from whole packets")
	}
}

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
		append([]byte{0x60, 0, 0, 0, 0, 16, 44, 64, 0x20, 1, 15: 1, 16: 0x20, 31: 2, 32: 0, 39: 0}, 60, 0, 0, 9, 1, 2, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0),
		append([]byte{0x60, 0, 0, 0, 0, 2, 17, 64, 0x20, 1, 15: 1, 16: 0x20, 31: 2, 32: 0, 39: 0}, 0, 53, 1, 2),
		append([]byte{0x60, 0, 0, 0, 0, 8, 58, 64, 0x20, 1, 15: 1, 16: 0x20, 31: 2, 32: 0, 39: 0}, 128, 0, 0, 0, 1, 2, 0, 0),
		{},
	} {
		if got, want := flowOf(ip).Hash(), zerocopy.HashFlow(ip, flowSeed); got != want {
			t.Errorf("% x: %#x, want %#x", ip, got, want)
		}
	}
}

// What is not certain shows in the Flow, and is not said to be something else.
func TestFlowUnknown(t *testing.T) {
	whole := append(append([]byte(nil), ipv4UDP...), 0, 53, 1, 2, 0, 8, 0, 0)
	want := flowOf(whole)
	want.SrcPort, want.DstPort, want.Unknown = 0, 0, true
	for n := 20; n < 24; n++ { // as a small copy range cuts it
		if f := flowOf(whole[:n]); f != want || f.IsValid() != true || f == flowOf(whole) {
			t.Errorf("%d bytes: %v, want %v", n, f, want)
		}
	}
	if f := flowOf(whole[:24]); f.Unknown || f.SrcPort != 53 {
		t.Errorf("with all of the ports: %v", f)
	}
	if r := want.Reverse(); !r.Unknown || r.Hash() != want.Hash() {
		t.Errorf("reverse: %v", r)
	}
}

var ipv4UDP = []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2}
