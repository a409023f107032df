package rules

import (
	"fmt"
	"net/netip"
	"strings"
)

// matches returns the conditions of a rule, once for each line that it takes.
func (t *tables) matches(field string, r Rule) ([]string, error) {
	all := []string{""}
	var err error
	refuse := func(field, reason string) {
		if err == nil {
			err = bad(field, "%s: %s", reason, notInIPTables)
		}
	}
	// list adds an option that has one value, once for each value.
	list := func(field, option string, not bool, values []string) {
		switch {
		case len(values) == 0:
		case not && len(values) > 1:
			refuse(field, "several values of which none may fit")
		default:
			var next []string
			for _, before := range all {
				for _, v := range values {
					next = append(next, before+option+" "+v)
				}
			}
			all = next
		}
	}
	one := func(text string) { list("", "", false, []string{strings.TrimSpace(text)}) }
	if m := r.Match; families(m.SrcAddrs)&families(m.DstAddrs)&t.family == 0 {
		return nil, nil // a rule of the other family
	}
	if p := r.Match.Protocol; p != 0 {
		one(fmt.Sprintf("-p %d", p))
	} else if p := r.Not.Protocol; p != 0 {
		one(fmt.Sprintf("! -p %d", p))
	}
	for _, side := range []struct {
		field string
		m     Match
		not   bool
	}{{field + ".Match", r.Match, false}, {field + ".Not", r.Not, true}} {
		m, bang := side.m, ""
		if side.not {
			bang = " !"
		}
		list(side.field+".InDevs", bang+" -i", side.not, links(m.InDevs))
		list(side.field+".OutDevs", bang+" -o", side.not, links(m.OutDevs))
		for _, a := range []struct {
			field, option string
			addrs         []netip.Prefix
		}{{".SrcAddrs", " -s", m.SrcAddrs}, {".DstAddrs", " -d", m.DstAddrs}} {
			values := t.addrs(a.addrs)
			if len(values) > maxListed {
				refuse(side.field+a.field, fmt.Sprintf("%d addresses, more than %d", len(values), maxListed))
			}
			list(side.field+a.field, bang+a.option, side.not, values)
		}
		for _, p := range []struct {
			field, option string
			ports         []PortRange
		}{{".SrcPorts", "--sports", m.SrcPorts}, {".DstPorts", "--dports", m.DstPorts}} {
			text, n := multiport(p.ports)
			if n > maxMultiport {
				refuse(side.field+p.field, fmt.Sprintf("more than %d ports, of which a range is two", maxMultiport))
			} else if n > 0 {
				one(fmt.Sprintf(" -m multiport%s %s %s", bang, p.option, text))
			}
		}
		if f := m.TCPFlags; f.Mask&(ECE|CWR) != 0 {
			refuse(side.field+".TCPFlags", "ECE and CWR")
		} else if f.Mask != 0 {
			one(fmt.Sprintf("%s --tcp-flags %s %s", bang, xtFlags(f.Mask), xtFlags(f.Value)))
		}
		if m.CTState != 0 {
			one(fmt.Sprintf(" -m conntrack%s --ctstate %s", bang, xtStates(m.CTState)))
		}
		if m.Mark.Mask != 0 {
			one(fmt.Sprintf(" -m mark%s --mark %s", bang, m.Mark.xt()))
		}
		if m.ConnMark.Mask != 0 {
			one(fmt.Sprintf(" -m connmark%s --mark %s", bang, m.ConnMark.xt()))
		}
		list(side.field+".ConnLabels", " -m connlabel"+bang+" --label", side.not, decimal(m.ConnLabels))
		list(side.field+".UIDs", " -m owner"+bang+" --uid-owner", side.not, decimal(m.UIDs))
	}
	return all, err
}

func links(names []string) []string {
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = quoteArg(strings.Replace(name, "*", "+", 1))
	}
	return values
}

// quoteArg makes one word of a name for iptables-restore.
func quoteArg(s string) string { return `"` + s + `"` }

// addrs returns addresses of the family.
func (t *tables) addrs(addrs []netip.Prefix) (values []string) {
	list, single := addrIntervals(addrs, t.family)
	for _, v := range list {
		if single {
			values = append(values, v.addrText())
		} else {
			for _, p := range v.prefixes() {
				values = append(values, p.String())
			}
		}
	}
	return values
}

// multiport returns ports as the match multiport takes them, and how many they
// are to it.
func multiport(ranges []PortRange) (text string, n int) {
	var values []string
	list, _ := portIntervals(ranges)
	for _, v := range list {
		port := v.portText()
		n += 1 + strings.Count(port, "-")
		values = append(values, strings.Replace(port, "-", ":", 1))
	}
	return strings.Join(values, ","), n
}

func xtFlags(flags uint8) string {
	names := upper(flagList(flags))
	if names == "" {
		return "NONE"
	}
	return names
}

func xtStates(s ConnState) string { return upper(stateNames(s)) }

func upper(names []string) string { return strings.ToUpper(strings.Join(names, ",")) }

func (m Mark) xt() string { return fmt.Sprintf("%#x/%#x", m.Value, m.Mask) }
