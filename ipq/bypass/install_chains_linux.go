package bypass

import (
	"encoding/binary"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// expand returns the conditions of m, once for each kernel rule that it takes: a
// port may be on either side, an echo request of either family.
func (m Match) expand() [][]nftexpr.Condition {
	rules := [][]nftexpr.Condition{nil}
	switch {
	case m.EchoRequest:
		rules = nftexpr.EchoRequests(m.Family)
		m.Family = 0 // which the protocol tells
	case m.Port != 0:
		rules = [][]nftexpr.Condition{{nftexpr.SrcPort(m.Port)}, {nftexpr.DstPort(m.Port)}}
	}
	for i := range rules {
		rules[i] = slices.Concat(m.conditions(), rules[i])
	}
	return rules
}

// conditions returns those that are no matter of ports or EchoRequest.
func (m Match) conditions() []nftexpr.Condition {
	var all []nftexpr.Condition
	if m.Family != 0 {
		all = append(all, nftexpr.Family(m.Family))
	}
	if m.Protocol != 0 {
		all = append(all, nftexpr.Protocol(m.Protocol))
	}
	if m.InDev != "" {
		all = append(all, nftexpr.InDev(m.InDev))
	}
	if m.OutDev != "" {
		all = append(all, nftexpr.OutDev(m.OutDev))
	}
	return all
}

// program is a condition: that the program returns other than 0. The kernel
// takes the program from the descriptor, and holds it for as long as the rule
// stands.
func program(p *ebpf.Program, match string) expr.Any {
	// struct xt_bpf_info_v1: u16 mode (2 is a descriptor), u16 bpf_program_num_elem,
	// s32 fd, at 8 a union of 512 bytes, at 520 a pointer that the kernel fills in.
	info := make(xt.Unknown, 528)
	binary.NativeEndian.PutUint16(info[0:], 2)
	binary.NativeEndian.PutUint32(info[4:], uint32(p.FD()))
	return &expr.Match{Name: match, Rev: 1, Info: &info}
}

func (r Rules) queue() nftexpr.Queue {
	return nftexpr.Queue{First: r.Queue, Count: uint16(r.Queues), Bypass: r.QueueBypass, FanoutCPU: r.FanoutCPU}
}
