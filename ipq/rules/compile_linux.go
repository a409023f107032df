package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/internal/nfttable"
)

// A part is a condition, as nft writes it and as the kernel takes it.
type part struct {
	text, opposite string
	condition      nftexpr.Condition
	set            string // that it looks into
}

// compare returns the part that left is right.
func compare(left, right string, condition nftexpr.Condition) part {
	is := " "
	if strings.Contains(left, "&") {
		is = " == "
	}
	return part{text: left + is + right, opposite: left + " != " + right, condition: condition}
}

func (p part) not() part {
	return part{text: p.opposite, opposite: p.text, condition: p.condition.Not(), set: p.set}
}

// compileRule returns the rules of the kernel that a rule comes to: addresses of
// two families, names of links with and without *, and a reject take more than
// one. A packet meets one of them at the most.
func (p *program) compileRule(chain, number int, r Rule) (all []kernelRule) {
	what := fmt.Sprintf("Chains[%d].Rules[%d]", chain, number)
	m, not := r.Match, r.Not
	alternatives := [][]part{nil}
	both := func(more [][]part) { // all pairs
		var pairs [][]part
		for _, a := range alternatives {
			for _, b := range more {
				pairs = append(pairs, slices.Concat(a, b))
			}
		}
		alternatives = pairs
	}
	each := func(parts []part) { both([][]part{parts}) }
	both(p.links(what+".Match.InDevs", "iifname", nftexpr.InDevs, m.InDevs))
	each(flatten(p.links(what+".Not.InDevs", "iifname", nftexpr.InDevs, not.InDevs)))
	both(p.links(what+".Match.OutDevs", "oifname", nftexpr.OutDevs, m.OutDevs))
	each(flatten(p.links(what+".Not.OutDevs", "oifname", nftexpr.OutDevs, not.OutDevs)))
	each(p.transport(what+".Match", m, m.Protocol))
	each(nots(p.transport(what+".Not", not, m.Protocol)))
	each(p.known(what+".Match", m))
	each(nots(p.known(what+".Not", not)))
	both(p.addresses(what, m, not))

	for _, parts := range alternatives {
		for _, end := range p.ends(what, r) {
			k := kernelRule{Rule: nfttable.Rule{What: what, Comment: r.Comment, Counter: p.first[chain] + number}}
			var words []string
			for _, part := range slices.Concat(end.first, parts) {
				words = append(words, part.text)
				k.Exprs = append(k.Exprs, part.condition...)
				if part.set != "" {
					k.Sets = append(k.Sets, part.set)
				}
			}
			k.text = strings.Join(append(words, end.text), " ")
			k.Exprs = append(k.Exprs, end.exprs...)
			all = append(all, k)
		}
	}
	return all
}

func nots(parts []part) []part {
	for i := range parts {
		parts[i] = parts[i].not()
	}
	return parts
}

// flatten returns the opposite of alternatives of one part each.
func flatten(alternatives [][]part) []part { return nots(slices.Concat(alternatives...)) }

// links returns the alternatives of names of links.
func (p *program) links(what, left string, f nftexpr.Field, names []string) (alternatives [][]part) {
	if len(names) == 0 {
		return [][]part{nil}
	}
	var prefixes, exact []string
	for _, name := range names {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			prefixes = append(prefixes, prefix)
		}
	}
	covered := func(name string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	}
	for _, name := range names {
		if !strings.HasSuffix(name, "*") && !covered(name) {
			exact = append(exact, name)
		}
	}
	slices.Sort(prefixes)
	kept := prefixes[:0:0]
	for _, prefix := range prefixes { // one that begins like another comes behind it
		if n := len(kept); n == 0 || !strings.HasPrefix(prefix, kept[n-1]) {
			kept = append(kept, prefix)
		}
	}
	slices.Sort(exact)
	exact = slices.Compact(exact)
	if len(exact) == 1 {
		alternatives = append(alternatives, []part{compare(left, strconv.Quote(exact[0]), f.Is(nftexpr.LinkName(exact[0])))})
	} else if len(exact) > 1 {
		var elements []nftconn.Element
		var text []string
		for _, name := range exact {
			elements = append(elements, nftconn.Element{Key: nftexpr.LinkName(name)})
			text = append(text, strconv.Quote(name))
		}
		set := p.addSet(what, nftconn.IfName, false, elements, func() []string { return text })
		alternatives = append(alternatives, []part{lookUp(left, f, set)})
	}
	for _, prefix := range kept {
		alternatives = append(alternatives, []part{compare(left, strconv.Quote(prefix+"*"), f.Is([]byte(prefix)))})
	}
	return alternatives
}

func lookUp(left string, f nftexpr.Field, set string) part {
	c := compare(left, "@"+set, f.In(set))
	c.set = set
	return c
}

// transport returns what is about the transport header, of a rule for the
// protocol.
func (p *program) transport(what string, m Match, protocol uint8) (parts []part) {
	name := withPorts[protocol]
	ports := func(field, direction string, f nftexpr.Field, ranges []PortRange) {
		if len(ranges) == 0 {
			return
		}
		left := name + " " + direction
		list, single := portIntervals(ranges)
		if len(list) > 1 {
			parts = append(parts, lookUp(left, f, p.addSet(what+"."+field, nftconn.Port, !single, elementsOf(list, single), texts(list, interval.portText))))
			return
		}
		condition := f.Between(list[0].first, list[0].last)
		if slices.Equal(list[0].first, list[0].last) {
			condition = f.Is(list[0].first)
		}
		parts = append(parts, compare(left, list[0].portText(), condition))
	}
	ports("SrcPorts", "sport", nftexpr.SrcPorts, m.SrcPorts)
	ports("DstPorts", "dport", nftexpr.DstPorts, m.DstPorts)
	if f := m.TCPFlags; f.Mask != 0 {
		parts = append(parts, compare("tcp flags & "+flagNames(f.Mask), flagNames(f.Value), nftexpr.TCPFlags.Masked([]byte{f.Value}, []byte{f.Mask})))
	}
	if m.Protocol == 0 {
		return parts
	}
	is := compare("meta l4proto", fmt.Sprint(m.Protocol), nftexpr.Protocol(m.Protocol))
	if n := withPorts[m.Protocol]; n != "" {
		is = compare("meta l4proto", n, is.condition)
	}
	if m.Protocol == protocol && parts != nil { // nft adds the condition by itself
		parts[0].condition = append(slices.Clone(is.condition), parts[0].condition...)
		return parts
	}
	return append([]part{is}, parts...)
}
