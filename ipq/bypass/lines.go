package bypass

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/goipq/goipq/ipq"
)

// iptables' own chain for settled flows.
const iptablesChain = "GOIPQ_BYPASS"

// Lines returns, for people who keep their rules themselves, the shell commands
// that make what [Bypasser.Install] makes.
//
// With [EBPF] they are iptables' and ip6tables', legacy or nft, and refer to
// the programs in [Config.PinDir], which must be set. They go to table filter
// or, at Prerouting and Postrouting, mangle; Rules.Priority and Rules.Table
// have no say. There are none for nft: it can show such a match, and not read
// it. Programs that keep an nft ruleset leave the chain to Install, in a table
// of its own.
//
// With [ConnMark] they are nft's. Calling Lines is then the promise that they
// are loaded: from now on a drop is an accept with a mark on which only those
// rules act.
func (b *Bypasser) Lines(r Rules) ([]string, error) {
	r, err := r.withDefaults()
	if err != nil {
		return nil, err
	}
	switch b.backend {
	case NFTSet:
		return nil, &FieldError{"Lines", NFTSet, "there are no lines for its rules: have Install make them"}
	case ConnMark:
		b.rules[r.Hook].Add(1)
		return b.nftLines(r), nil
	}
	if b.cfg.PinDir == "" {
		return nil, fmt.Errorf("%w: Lines needs a Config.PinDir for iptables to find the programs in", ErrConfig)
	}
	return append(b.iptablesLines(r, "iptables", familyIPv4), b.iptablesLines(r, "ip6tables", familyIPv6)...), nil
}

func (b *Bypasser) iptablesLines(r Rules, command string, family uint8) []string {
	table := "filter"
	if r.Hook == ipq.Prerouting || r.Hook == ipq.Postrouting {
		table = "mangle"
	}
	prefix := command + " -t " + table
	target := "NFQUEUE --queue-num " + strconv.Itoa(int(r.Queue))
	if r.Queues > 1 {
		target = fmt.Sprintf("NFQUEUE --queue-balance %d:%d", r.Queue, int(r.Queue)+r.Queues-1)
	}
	if r.FanoutCPU {
		target += " --queue-cpu-fanout"
	}
	if r.QueueBypass {
		target += " --queue-bypass"
	}
	pinned := func(name string) string { return quote(filepath.Join(b.cfg.PinDir, name)) }
	lines := []string{
		prefix + " -N " + iptablesChain,
		prefix + " -A " + iptablesChain + " -m bpf --object-pinned " + pinned("accept") + " -j ACCEPT",
		prefix + " -A " + iptablesChain + " -m bpf --object-pinned " + pinned("drop") + " -j DROP",
		prefix + " -A " + iptablesChain + " -j " + target,
	}
	for _, m := range r.Match {
		if m.Family != 0 && m.Family != family {
			continue
		}
		for _, options := range m.iptables(family) {
			lines = append(lines, prefix+" -A "+strings.ToUpper(r.Hook.String())+options+" -g "+iptablesChain)
		}
	}
	return lines
}

// iptables returns the conditions of m as options, once for each rule that it
// takes.
func (m Match) iptables(family uint8) []string {
	var o strings.Builder
	if m.InDev != "" {
		o.WriteString(" -i " + quote(m.InDev))
	}
	if m.OutDev != "" {
		o.WriteString(" -o " + quote(m.OutDev))
	}
	switch {
	case m.EchoRequest && family == familyIPv4:
		o.WriteString(" -p icmp --icmp-type echo-request")
	case m.EchoRequest:
		o.WriteString(" -p ipv6-icmp --icmpv6-type echo-request")
	case m.Protocol != 0:
		fmt.Fprintf(&o, " -p %d", m.Protocol)
	}
	if m.Port == 0 {
		return []string{o.String()}
	}
	// multiport knows all protocols with ports.
	return []string{fmt.Sprintf("%s -m multiport --ports %d", &o, m.Port)}
}

func (b *Bypasser) nftLines(r Rules) []string {
	table := "inet " + r.Table
	add := func(format string, args ...any) string {
		return "nft " + quote(fmt.Sprintf("add rule inet %s "+format, append([]any{r.Table}, args...)...))
	}
	chain := func(name string, priority int32) string {
		return "nft " + quote(fmt.Sprintf("add chain inet %s %s { type filter hook %v priority %d; }", r.Table, name, r.Hook, priority))
	}
	queue := fmt.Sprintf("queue num %d", r.Queue)
	if r.Queues > 1 {
		queue = fmt.Sprintf("queue num %d-%d", r.Queue, int(r.Queue)+r.Queues-1)
	}
	var flags []string
	if r.QueueBypass {
		flags = append(flags, "bypass")
	}
	if r.FanoutCPU {
		flags = append(flags, "fanout")
	}
	if flags != nil {
		queue += " " + strings.Join(flags, ",")
	}
	a, d := b.cfg.AcceptMark, b.cfg.DropMark
	lines := []string{
		"nft add table " + table,
		chain(chainBase, r.Priority),
		"nft add chain " + table + " " + chainDecide,
		chain(chainSettle, r.Priority+1),
		add("%s ct mark & %#x == %#x counter accept", chainDecide, a, a),
		add("%s ct mark & %#x == %#x counter drop", chainDecide, d, d),
		add("%s counter %s", chainDecide, queue),
		add("%s meta mark & %#x == %#x ct mark set ct mark & %#x ^ %#x drop", chainSettle, d, d, ^(a | d), d),
		add("%s meta mark & %#x == %#x ct mark set ct mark & %#x ^ %#x meta mark set meta mark & %#x",
			chainSettle, a, a, ^(a | d), a, ^a),
	}
	for _, m := range r.Match {
		for _, conditions := range m.nft() {
			lines = append(lines, add("%s%s goto %s", chainBase, conditions, chainDecide))
		}
	}
	return lines
}

// nft returns the conditions of m in nft's words, once for each rule that it
// takes.
func (m Match) nft() []string {
	var o strings.Builder
	switch m.Family {
	case familyIPv4:
		o.WriteString(" meta nfproto ipv4")
	case familyIPv6:
		o.WriteString(" meta nfproto ipv6")
	}
	if m.InDev != "" {
		fmt.Fprintf(&o, " iifname %q", m.InDev)
	}
	if m.OutDev != "" {
		fmt.Fprintf(&o, " oifname %q", m.OutDev)
	}
	if m.Protocol != 0 {
		fmt.Fprintf(&o, " meta l4proto %d", m.Protocol)
	}
	var last []string
	switch {
	case m.EchoRequest:
		if m.Family != familyIPv6 {
			last = append(last, " icmp type echo-request")
		}
		if m.Family != familyIPv4 {
			last = append(last, " icmpv6 type echo-request")
		}
	case m.Port != 0:
		last = append(last, fmt.Sprintf(" th sport %d", m.Port), fmt.Sprintf(" th dport %d", m.Port))
	default:
		last = append(last, "")
	}
	for i := range last {
		last[i] = o.String() + last[i]
	}
	return last
}

// quote makes one word of s for the shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
