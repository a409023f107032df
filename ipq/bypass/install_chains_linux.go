package bypass

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/internal/nfttable"
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

// The counters of a table: what its rules have counted themselves.
const (
	countAccepted = iota
	countDropped
	countQueued
	countNoRoom
	ruleCounters
)

// A selection is the conditions of a rule, and the field that asks for them.
type selection struct {
	field      string
	conditions []nftexpr.Condition
}

// selections returns what the rules select: one for each kernel rule that it takes.
func (r Rules) selections() (all []selection) {
	for i, m := range r.Match {
		for _, conditions := range m.expand() {
			all = append(all, selection{fmt.Sprintf("Rules.Match[%d]", i), conditions})
		}
	}
	return all
}

// chains returns the chains of a table, whose programs count by the tally.
func (b *Bypasser) chains(r Rules, native bool, t *tally) []nfttable.Chain {
	base, decide := r.chain(chainBase, r.Priority), nfttable.Chain{Name: chainDecide}
	accept, drop := &expr.Verdict{Kind: expr.VerdictAccept}, &expr.Verdict{Kind: expr.VerdictDrop}
	queue := r.queue().Expr(native)
	selected := r.selections()
	if b.backend == EBPF { // first: each rule on the way to it costs every packet
		asked := []expr.Any{program(t.accept, xtBPF), accept}
		if len(selected) == 1 { // packets that are not selected are asked no more than once
			for _, condition := range selected[0].conditions {
				addRule(&base, selected[0].field, condition.Not(), []expr.Any{accept})
			}
			addRule(&base, "EBPF", asked)
		} else {
			for _, s := range selected {
				addRule(&base, s.field, slices.Concat(s.conditions...), asked)
			}
		}
	}
	for _, s := range selected {
		addRule(&base, s.field, slices.Concat(s.conditions...), []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chainDecide}})
	}
	if b.backend == EBPF { // the programs count
		addRule(&decide, "EBPF", []expr.Any{program(t.drop, xtBPF), drop})
		addCounted(&decide, "Rules.Queue", countQueued, nil, queue)
		return []nfttable.Chain{decide, base}
	}
	a, d := b.cfg.AcceptMark, b.cfg.DropMark
	packet, conn := nftexpr.PacketMark, nftexpr.ConnMark
	addCounted(&decide, "AcceptMark", countAccepted, conn.Is(a, a), accept)
	addCounted(&decide, "DropMark", countDropped, conn.Is(d, d), drop)
	addCounted(&decide, "Rules.Queue", countQueued, nil, queue)
	// An accepted packet goes on here, never at the next rule of its chain.
	settle := r.chain(chainSettle, r.Priority+1)
	addRule(&settle, "DropMark", packet.Is(d, d), conn.Set(d, a|d), []expr.Any{drop})
	addRule(&settle, "AcceptMark", packet.Is(a, a), conn.Set(a, a|d), packet.Set(0, a))
	return []nfttable.Chain{decide, base, settle}
}

// chain returns a chain at the hook.
func (r Rules) chain(name string, priority int32) nfttable.Chain {
	return nfttable.Chain{Name: name, What: "Rules.Hook", Base: true, Hook: uint32(r.Hook), Priority: priority}
}

// addRule adds a rule that consists of parts, for a field.
func addRule(c *nfttable.Chain, what string, parts ...[]expr.Any) {
	c.Rules = append(c.Rules, nfttable.Rule{What: what, Exprs: slices.Concat(parts...), Counter: nfttable.Uncounted})
}

// addCounted adds a rule that counts what meets the condition, and then acts.
func addCounted(c *nfttable.Chain, what string, counter int, condition nftexpr.Condition, action expr.Any) {
	addRule(c, what, condition, []expr.Any{&expr.Counter{}, action})
	c.Rules[len(c.Rules)-1].Counter = counter
}
