package rules

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/internal/nfttable"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// An end is what a rule does with the packets that it matches.
type end struct {
	first []part // one more condition, before the others
	text  string
	exprs []expr.Any
}

// ends returns the alternatives of what a rule does.
func (p *program) ends(what string, r Rule) []end {
	text, exprs := []string{"counter"}, []expr.Any{&expr.Counter{}}
	add := func(t string, e ...expr.Any) {
		text, exprs = append(text, t), append(exprs, e...)
	}
	for _, mark := range []struct {
		left string
		kind nftexpr.Mark
		Mark
	}{{"meta mark", nftexpr.PacketMark, r.SetMark}, {"ct mark", nftexpr.ConnMark, r.SetConnMark}} {
		switch mark.Mask {
		case 0:
		case math.MaxUint32:
			add(fmt.Sprintf("%s set %#x", mark.left, mark.Value), mark.kind.Set(mark.Value, mark.Mask)...)
		default:
			add(fmt.Sprintf("%s set %s & %#x ^ %#x", mark.left, mark.left, ^mark.Mask, mark.Value), mark.kind.Set(mark.Value, mark.Mask)...)
		}
	}
	for _, label := range sorted(r.SetConnLabels) {
		add(fmt.Sprintf("ct label set %d", label), nftexpr.SetLabels(labelBits([]uint8{label}))...)
	}
	switch {
	case r.Queue != nil:
		p.queue(what, *r.Queue, add)
	case r.Action == Accept:
		add("accept", verdict(expr.VerdictAccept))
	case r.Action == Drop:
		add("drop", verdict(expr.VerdictDrop))
	case r.Action == Reject:
		return p.reject(r, strings.Join(text, " "), exprs)
	}
	return []end{{text: strings.Join(text, " "), exprs: exprs}}
}

// queue adds what queues.
func (p *program) queue(what string, q Queue, add func(string, ...expr.Any)) {
	k := nftexpr.Queue{First: q.First, Count: uint16(q.count()), Bypass: q.Bypass, FanoutCPU: q.Spread == ByCPU && q.count() > 1}
	if q.Spread != ByFlow || k.Count == 1 {
		add(queueText(k), k.Expr(p.have.queue))
		return
	}
	var arms, flows []string
	for i := range k.Count {
		chain := p.queueChain(what+".Queue", nftexpr.Queue{First: q.First + i, Count: 1, Bypass: q.Bypass})
		flows = append(flows, chain)
		arms = append(arms, fmt.Sprintf("%d : goto %s", i, chain))
	}
	// The map's name says what is in it. In the text it has none: nft has no word for
	// the type of its keys.
	name := fmt.Sprintf("%s%d_%d", nfttable.MapPrefix, q.First, k.Count)
	if q.Bypass {
		name += "_bypass"
	}
	if !slices.ContainsFunc(p.maps, func(m nfttable.Map) bool { return m.Name == name }) {
		p.maps = append(p.maps, nfttable.Map{Name: name, What: what + ".Queue", Chains: flows})
	}
	add(fmt.Sprintf("symhash mod %d vmap { %s }", k.Count, strings.Join(arms, ", ")), nftexpr.FlowHash(len(flows), name)...)
}

func queueText(q nftexpr.Queue) string {
	text := fmt.Sprintf("queue num %d", q.First)
	if q.Count > 1 {
		text += fmt.Sprintf("-%d", int(q.First)+int(q.Count)-1)
	}
	var flags []string
	if q.Bypass {
		flags = append(flags, "bypass")
	}
	if q.FanoutCPU {
		flags = append(flags, "fanout")
	}
	if flags != nil {
		text += " " + strings.Join(flags, ",")
	}
	return text
}

// reject returns a reset for TCP, and an ICMP error for the rest.
func (p *program) reject(r Rule, text string, exprs []expr.Any) (ends []end) {
	if protocol := r.Match.Protocol; protocol == 0 || protocol == protocolTCP {
		reset := end{
			text:  text + " reject with tcp reset",
			exprs: append(slices.Clone(exprs), &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}),
		}
		if protocol == 0 && r.Not.Protocol != protocolTCP {
			reset.first = []part{compare("meta l4proto", "tcp", nftexpr.Protocol(protocolTCP))}
		}
		if r.Not.Protocol != protocolTCP {
			ends = append(ends, reset)
		}
		if protocol == protocolTCP {
			return ends
		}
	}
	return append(ends, end{
		text:  text + " reject with icmpx admin-prohibited",
		exprs: append(slices.Clone(exprs), &expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}),
	})
}
