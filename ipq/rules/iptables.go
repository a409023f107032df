package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goipq/goipq/ipq"
)

const (
	maxChainName  = 28 // XT_EXTENSION_MAXNAMELEN less its zero
	maxMultiport  = 15 // XT_MULTI_PORTS
	maxListed     = 64 // addresses of a rule, each of which is a rule of the kernel's
	notInIPTables = "iptables cannot say it"
)

// IPTables returns the Set as text for iptables-restore and for ip6tables-restore,
// both with --noflush: chains of its own, and a jump to them at the end of the
// built-in ones. What iptables cannot say is a [FieldError] that matches
// [ErrConfig]: family Bridge, Spread ByFlow, labels to set, priorities other than
// those of its tables (raw -300, mangle -150, filter 0, security 50, each at its
// hooks; a Reject in filter), lists of more than 64 addresses, or lists of which
// nothing may fit. Loading it a second time jumps a second time. Answers to the
// product's own traffic are queued, which [Install] avoids.
func (s Set) IPTables() (ipv4, ipv6 string, err error) {
	if err := s.Check(); err != nil {
		return "", "", err
	}
	if s.Family != Inet {
		return "", "", bad("Family", "%v: %s", s.Family, notInIPTables)
	}
	for _, f := range []struct {
		text *string
		bit  uint8
	}{{&ipv4, isIPv4}, {&ipv6, isIPv6}} {
		t := tables{set: s, family: f.bit, lines: map[string][]string{}, chains: map[string][]string{}}
		if err := t.add(); err != nil {
			return "", "", err
		}
		*f.text = t.String()
	}
	return ipv4, ipv6, nil
}

// tables are the lines of each table.
type tables struct {
	set    Set
	family uint8
	order  []string
	chains map[string][]string
	lines  map[string][]string
}

// xtables has the tables by their priorities, with the hooks that they are at.
var xtables = []struct {
	name     string
	priority int32
	hooks    []ipq.Hook
}{
	{"raw", -300, []ipq.Hook{ipq.Prerouting, ipq.Output}},
	{"mangle", -150, []ipq.Hook{ipq.Prerouting, ipq.Input, ipq.Forward, ipq.Output, ipq.Postrouting}},
	{"filter", 0, []ipq.Hook{ipq.Input, ipq.Forward, ipq.Output}},
	{"security", 50, []ipq.Hook{ipq.Input, ipq.Forward, ipq.Output}},
}

func (t *tables) add() error {
	for i, c := range t.set.Chains {
		field := fmt.Sprintf("Chains[%d]", i)
		table := ""
		for _, x := range xtables {
			if x.priority == c.Priority && slices.Contains(x.hooks, c.Hook) {
				table = x.name
			}
		}
		if table == "" {
			return bad(field+".Priority", "iptables has no table at %v with priority %d", c.Hook, c.Priority)
		}
		// A hook has one chain in each table.
		chain := fmt.Sprintf("%s_%v", t.set.Table, c.Hook)
		if longest := fmt.Sprintf("%s_%d", chain, len(c.Rules)); len(longest) > maxChainName {
			return bad("Table", "%q makes names of chains of %d bytes, iptables allows %d", t.set.Table, len(longest), maxChainName)
		}
		if !slices.Contains(t.order, table) {
			t.order = append(t.order, table)
		}
		t.chain(table, chain)
		for _, mark := range []uint32{t.set.OwnMark, t.set.RejectMark} {
			if mark != 0 {
				t.line(table, chain, fmt.Sprintf(" -m mark --mark %#x", mark), "-j RETURN")
			}
		}
		for j, r := range c.Rules {
			if err := t.rule(fmt.Sprintf("%s.Rules[%d]", field, j), table, chain, j, r); err != nil {
				return err
			}
		}
		t.lines[table] = append(t.lines[table], fmt.Sprintf("-A %s -j %s", strings.ToUpper(c.Hook.String()), chain))
	}
	if t.set.Defrag || t.set.ConnLabels {
		if len(t.order) == 0 {
			t.order = append(t.order, "filter")
		}
		table, chain := t.order[0], t.set.Table+"_requires"
		t.chain(table, chain) // nothing leads there: the kernel has what its rules need
		t.line(table, chain, " -m conntrack --ctstate ESTABLISHED", "-j RETURN")
		if t.set.ConnLabels {
			t.line(table, chain, " -m connlabel --label 0", "-j RETURN")
		}
	}
	return nil
}

func (t *tables) chain(table, name string) {
	t.chains[table] = append(t.chains[table], fmt.Sprintf(":%s - [0:0]", name))
}

func (t *tables) line(table, chain, match, target string) {
	t.lines[table] = append(t.lines[table], strings.TrimSpace("-A "+chain+match+" "+target))
}

// String returns the text of iptables-restore.
func (t *tables) String() string {
	var b strings.Builder
	for _, table := range t.order {
		fmt.Fprintf(&b, "*%s\n%s\n%s\nCOMMIT\n", table, strings.Join(t.chains[table], "\n"), strings.Join(t.lines[table], "\n"))
	}
	return b.String()
}

// rule adds a rule. One that marks packets gets a chain for that, since a rule of
// iptables does one thing.
func (t *tables) rule(field, table, chain string, number int, r Rule) error {
	matches, err := t.matches(field, r)
	if err != nil || len(matches) == 0 {
		return err
	}
	targets, terminal, err := t.targets(field, table, r)
	if err != nil {
		return err
	}
	if len(targets) > 1 {
		own := fmt.Sprintf("%s_%d", chain, number)
		t.chain(table, own)
		for _, target := range targets {
			t.line(table, own, "", target)
		}
		if targets = []string{"-j " + own}; terminal {
			targets = []string{"-g " + own}
		}
	}
	for _, match := range matches {
		if r.Comment != "" {
			match += " -m comment --comment " + strconv.Quote(r.Comment)
		}
		t.line(table, chain, match, strings.Join(targets, ""))
	}
	return nil
}

// targets returns what is done with a packet, one after another.
func (t *tables) targets(field, table string, r Rule) (targets []string, terminal bool, err error) {
	if r.SetMark.Mask != 0 {
		targets = append(targets, fmt.Sprintf("-j MARK --set-xmark %#x/%#x", r.SetMark.Value, r.SetMark.Mask))
	}
	if r.SetConnMark.Mask != 0 {
		targets = append(targets, fmt.Sprintf("-j CONNMARK --set-xmark %#x/%#x", r.SetConnMark.Value, r.SetConnMark.Mask))
	}
	if len(r.SetConnLabels) > 0 {
		return nil, false, bad(field+".SetConnLabels", notInIPTables)
	}
	switch {
	case r.Queue != nil:
		q := *r.Queue
		if q.Spread == ByFlow && q.count() > 1 {
			return nil, false, bad(field+".Queue.Spread", "%v: %s", q.Spread, notInIPTables)
		}
		target := fmt.Sprintf("-j NFQUEUE --queue-num %d", q.First)
		if q.count() > 1 {
			target = fmt.Sprintf("-j NFQUEUE --queue-balance %d:%d", q.First, int(q.First)+q.count()-1)
			if q.Spread == ByCPU {
				target += " --queue-cpu-fanout"
			}
		}
		if q.Bypass {
			target += " --queue-bypass"
		}
		return append(targets, target), true, nil
	case r.Action == Accept: // for the Set: the rest of the table is others'
		return append(targets, "-j RETURN"), true, nil
	case r.Action == Drop:
		return append(targets, "-j DROP"), true, nil
	case r.Action == Reject:
		if table != "filter" {
			return nil, false, bad(field+".Action", "iptables rejects in its table filter only, at priority 0")
		}
		other := map[uint8]string{isIPv4: "-j REJECT --reject-with icmp-admin-prohibited", isIPv6: "-j REJECT --reject-with icmp6-adm-prohibited"}[t.family]
		const reset = "-p tcp -j REJECT --reject-with tcp-reset"
		if r.Match.Protocol == protocolTCP {
			return append(targets, "-j REJECT --reject-with tcp-reset"), true, nil
		} else if r.Match.Protocol != 0 || r.Not.Protocol == protocolTCP {
			return append(targets, other), true, nil
		}
		return append(targets, reset, other), true, nil
	}
	return targets, false, nil
}
