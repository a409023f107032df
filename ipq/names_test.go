package ipq

import (
	"net/netip"
	"testing"
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
