package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/internal/nfttable"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A program is what a Set comes to: the sets, chains and rules of a table, each
// as nft writes it and as the kernel takes it.
type program struct {
	set    Set
	have   features
	sets   []kernelSet
	maps   []nfttable.Map
	chains []kernelChain
	first  []int // of each Chain of the Set: the number of its first rule's counter
	rules  int   // of the Set
}

// features are what kernels differ in.
type features struct {
	queue  bool // nft's own queue expression, else the NFQUEUE target
	socket bool // nft's socket expression
}

type kernelSet struct {
	nfttable.Set
	text func() []string // the elements
}

type kernelChain struct {
	nfttable.Chain
	rules []kernelRule
}

type kernelRule struct {
	nfttable.Rule
	text string
}

// chainRequires holds rules that are never run: the kernel has what they need
// for as long as they are there.
const chainRequires = "requires"

// compile returns the program of a Set that has been checked.
func compile(s Set, have features) *program {
	p := &program{set: s, have: have}
	for _, c := range s.Chains {
		p.first = append(p.first, p.rules)
		p.rules += len(c.Rules)
	}
	var base []kernelChain
	for i, c := range s.Chains {
		chain := kernelChain{
			Chain: nfttable.Chain{
				Name: fmt.Sprintf("%v_%s", c.Hook, strings.Replace(fmt.Sprint(c.Priority), "-", "m", 1)),
				What: fmt.Sprintf("Chains[%d]", i),
				Base: true, Hook: uint32(c.Hook), Priority: c.Priority,
			},
			rules: p.passing(c),
		}
		for j, r := range c.Rules {
			chain.rules = append(chain.rules, p.compileRule(i, j, r)...)
		}
		base = append(base, chain)
	}
	p.require()
	p.chains = append(p.chains, base...)
	return p
}

// table returns what the kernel takes of the program.
func (p *program) table() *nfttable.Table {
	t := &nfttable.Table{
		Family: unix.NFPROTO_INET, Name: p.set.Table, Comment: comment,
		Maps: p.maps, Lasting: []string{chainRequires},
	}
	if p.set.Family == Bridge {
		t.Family = unix.NFPROTO_BRIDGE
	}
	for _, s := range p.sets {
		t.Sets = append(t.Sets, s.Set)
	}
	for _, c := range p.chains {
		for _, r := range c.rules {
			c.Rules = append(c.Rules, r.Rule)
		}
		t.Chains = append(t.Chains, c.Chain)
	}
	return t
}

// uncounted returns a rule that is none of the Set's.
func uncounted(what, text string, exprs ...expr.Any) kernelRule {
	return kernelRule{nfttable.Rule{What: what, Exprs: exprs, Counter: nfttable.Uncounted}, text}
}

// passing returns the rules that let the product's own traffic pass.
func (p *program) passing(c Chain) (passing []kernelRule) {
	add := func(what, text string, condition nftexpr.Condition) {
		passing = append(passing, uncounted(what, text+" accept", append(condition, verdict(expr.VerdictAccept))...))
	}
	for _, own := range []struct {
		field string
		mark  uint32
	}{{"OwnMark", p.set.OwnMark}, {"RejectMark", p.set.RejectMark}} {
		if own.mark != 0 {
			add(own.field, fmt.Sprintf("meta mark %#x", own.mark), nftexpr.PacketMark.Is(own.mark, 1<<32-1))
		}
	}
	if local := c.Hook == 0 || c.Hook == 1; p.set.OwnMark != 0 && local && p.have.socket && p.set.Family == Inet {
		add("OwnMark", fmt.Sprintf("socket mark %#x", p.set.OwnMark), nftexpr.SocketMark.Is(native(p.set.OwnMark)))
	}
	return passing
}

// require adds the chain that has the kernel do what the Set needs.
func (p *program) require() {
	chain := kernelChain{Chain: nfttable.Chain{Name: chainRequires}}
	add := func(what, text string, exprs []expr.Any) {
		chain.rules = append(chain.rules, uncounted(what, text, exprs...))
	}
	if what := p.set.tracks(); what != "" {
		add(what, "ct state established", nftexpr.ConnState.HasAny(native(uint32(Established))))
	}
	if p.set.ConnLabels {
		add("ConnLabels", "ct label set 0", nftexpr.SetLabels(labelBits([]uint8{0})))
	}
	if chain.rules != nil {
		p.chains = append(p.chains, chain)
	}
}

// tracks returns the first field that needs connection tracking, "" for none.
func (s Set) tracks() string {
	if s.Defrag {
		return "Defrag"
	}
	if s.ConnLabels {
		return "ConnLabels"
	}
	for i, c := range s.Chains {
		for j, r := range c.Rules {
			if field := r.tracks(); field != "" {
				return fmt.Sprintf("Chains[%d].Rules[%d].%s", i, j, field)
			}
		}
	}
	return ""
}

func (r Rule) tracks() string {
	if field := r.Match.tracks(); field != "" {
		return "Match." + field
	}
	if field := r.Not.tracks(); field != "" {
		return "Not." + field
	}
	return r.setsConn()
}

// queueChain returns the name of the chain that queues to one queue, and adds it
// if it is new.
func (p *program) queueChain(what string, q nftexpr.Queue) string {
	name := fmt.Sprintf("queue_%d", q.First)
	if q.Bypass {
		name += "_bypass"
	}
	if !slices.ContainsFunc(p.chains, func(c kernelChain) bool { return c.Name == name }) {
		p.chains = append(p.chains, kernelChain{
			Chain: nfttable.Chain{Name: name},
			rules: []kernelRule{uncounted(what, queueText(q), q.Expr(p.have.queue))},
		})
	}
	return name
}

// addSet returns the name of a set with these elements, and adds it if it is new.
func (p *program) addSet(what string, typ nftconn.SetType, interval bool, elements []nftconn.Element, text func() []string) string {
	sum := sha256.New()
	fmt.Fprintln(sum, typ.Name, interval)
	for _, e := range elements {
		sum.Write(e.Key)
		sum.Write([]byte{map[bool]byte{true: 1}[e.End]})
	}
	name := setPrefix[typ.Name] + "_" + hex.EncodeToString(sum.Sum(nil)[:8])
	if !slices.ContainsFunc(p.sets, func(s kernelSet) bool { return s.Name == name }) {
		p.sets = append(p.sets, kernelSet{nfttable.Set{Name: name, What: what, Type: typ, Interval: interval, Elements: elements}, text})
	}
	return name
}

var setPrefix = map[string]string{
	nftconn.IPv4.Name: "ipv4", nftconn.IPv6.Name: "ipv6", nftconn.Port.Name: "ports", nftconn.UID.Name: "uids", nftconn.IfName.Name: "links",
}

// texts returns what texts the intervals have.
func texts(list []interval, text func(interval) string) func() []string {
	return func() (all []string) {
		for _, v := range list {
			all = append(all, text(v))
		}
		return all
	}
}

// elementsOf returns the elements of a set of single values, or of intervals.
func elementsOf(list []interval, single bool) (elements []nftconn.Element) {
	for _, v := range list {
		elements = append(elements, nftconn.Element{Key: v.first})
		if end := after(v.last); !single && end != nil {
			elements = append(elements, nftconn.Element{Key: end, End: true})
		}
	}
	return elements
}

func verdict(kind expr.VerdictKind) expr.Any { return &expr.Verdict{Kind: kind} }
