package rules

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/goipq/goipq/ipq"
)

const (
	maxTableName  = 200 // of 255 that nf_tables allows
	maxLinkName   = 15  // IFNAMSIZ less its zero
	maxComment    = 128 // NFTNL_UDATA_COMMENT_MAXLEN
	maxLabel      = 127 // XT_CONNLABEL_MAXBIT
	maxByFlow     = 1024
	protocolTCP   = 6
	afterTracking = -200 // NF_IP_PRI_CONNTRACK
	afterDefrag   = -400 // NF_IP_PRI_CONNTRACK_DEFRAG
	lastQueue     = 1<<16 - 1
	allConnStates = Invalid | Established | Related | New | Untracked
)

// isName accepts the names that nft reads without quotes.
var isName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// withPorts are the protocols with ports at the start of their header, by the
// names that nft has for them.
var withPorts = map[uint8]string{6: "tcp", 17: "udp", 33: "dccp", 132: "sctp", 136: "udplite"}

// Check returns an error that names the field if the Set makes no sense. It
// matches [ErrConfig]. Whether the kernel has all that the Set asks for only
// [Install] can tell.
func (s Set) Check() error {
	switch {
	case len(s.Table) > maxTableName || !isName.MatchString(s.Table):
		return bad("Table", "%q is no name: want a letter, then letters, digits and _, %d at most", s.Table, maxTableName)
	case s.Family > Bridge:
		return bad("Family", "there is no %v", s.Family)
	case s.OwnMark != 0 && s.OwnMark == s.RejectMark:
		return bad("RejectMark", "%#x is the OwnMark, too: give one of them", s.RejectMark)
	}
	for i, c := range s.Chains {
		field := fmt.Sprintf("Chains[%d]", i)
		if c.Hook > ipq.Postrouting {
			return bad(field+".Hook", "there is no %v", c.Hook)
		}
		for j, other := range s.Chains[:i] {
			if other.Hook == c.Hook && other.Priority == c.Priority {
				return bad(field+".Priority", "Chains[%d] is at %v with priority %d, too", j, c.Hook, c.Priority)
			}
		}
		if after := s.defragged(c.Hook); s.Defrag && c.Priority <= after && early(c.Hook) {
			return bad(field+".Priority", "%d: Defrag takes effect after %d", c.Priority, after)
		}
		for j, r := range c.Rules {
			if err := r.check(fmt.Sprintf("%s.Rules[%d]", field, j), s, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// early reports whether connection tracking has functions at the hook that a
// chain may come before.
func early(h ipq.Hook) bool { return h == ipq.Prerouting || h == ipq.Output }

// defragged returns the priority at the hook at which the kernel puts fragments
// together. A bridge has it done by connection tracking, of what comes in.
func (s Set) defragged(h ipq.Hook) int32 {
	if s.Family == Bridge && h == ipq.Prerouting {
		return afterTracking
	}
	return afterDefrag
}

func (r Rule) check(field string, s Set, c Chain) error {
	if strings.ContainsAny(r.Comment, "\"\n\r\x00") || len(r.Comment) > maxComment {
		return bad(field+".Comment", "want at most %d bytes, without quotes and new lines", maxComment)
	}
	if err := r.Match.check(field+".Match", s, c, r.Match.Protocol); err != nil {
		return err
	}
	if err := r.Not.check(field+".Not", s, c, r.Match.Protocol); err != nil {
		return err
	}
	if f := families(r.Match.SrcAddrs) & families(r.Match.DstAddrs); f == 0 {
		return bad(field+".Match.DstAddrs", "no packet has addresses of one family here and of the other in SrcAddrs")
	}
	if p := r.Not.Protocol; p != 0 && p == r.Match.Protocol {
		return bad(field+".Not.Protocol", "%d is Match.Protocol, too", p)
	}
	for _, m := range []struct {
		name string
		Mark
	}{{".SetMark", r.SetMark}, {".SetConnMark", r.SetConnMark}} {
		if err := m.check(field + m.name); err != nil {
			return err
		}
	}
	if err := checkLabels(field+".SetConnLabels", r.SetConnLabels); err != nil {
		return err
	}
	if name := r.setsConn(); name != "" {
		if err := trackedAt(field+"."+name, c); err != nil {
			return err
		}
	}
	return r.checkEnd(field, s, c)
}

// checkEnd checks what becomes of the packet.
func (r Rule) checkEnd(field string, s Set, c Chain) error {
	switch {
	case r.Action > Reject:
		return bad(field+".Action", "there is no %v", r.Action)
	case r.Queue != nil && r.Action != Continue:
		return bad(field+".Action", "%v: a rule with a Queue has none", r.Action)
	case r.Action == Reject && c.Hook == ipq.Postrouting:
		return bad(field+".Action", "the kernel rejects nothing at %v", c.Hook)
	case r.Action == Reject && s.Family == Bridge && c.Hook != ipq.Prerouting && c.Hook != ipq.Input:
		return bad(field+".Action", "the kernel rejects nothing at %v of a bridge, only at prerouting and input", c.Hook)
	}
	if q := r.Queue; q != nil {
		switch {
		case q.Count < 0 || q.Count > lastQueue || int(q.First)+q.count()-1 > lastQueue:
			return bad(field+".Queue.Count", "no %d queues from queue %d on: the last is %d", q.Count, q.First, lastQueue)
		case q.Spread > ByFlow:
			return bad(field+".Queue.Spread", "there is no %v", q.Spread)
		case q.Spread == ByFlow && q.Count > maxByFlow:
			return bad(field+".Queue.Count", "%d queues: %v there are at most %d", q.Count, ByFlow, maxByFlow)
		}
	}
	return nil
}

func (q *Queue) count() int { return max(q.Count, 1) }

// check checks a Match, or what must not be so, of a rule that is for the
// protocol.
func (m Match) check(field string, s Set, c Chain, protocol uint8) error {
	for _, list := range []struct {
		name  string
		addrs []netip.Prefix
	}{{"SrcAddrs", m.SrcAddrs}, {"DstAddrs", m.DstAddrs}} {
		for i, prefix := range list.addrs {
			if field := fmt.Sprintf("%s.%s[%d]", field, list.name, i); !prefix.IsValid() {
				return bad(field, "this is no network: make it by ParseAddrs or netip.ParsePrefix")
			} else if prefix.Addr().Is4In6() {
				return bad(field, "%v is IPv4 in the shape of IPv6: write it as IPv4", prefix)
			}
		}
	}
	for _, list := range []struct {
		name  string
		ports []PortRange
	}{{"SrcPorts", m.SrcPorts}, {"DstPorts", m.DstPorts}} {
		if len(list.ports) > 0 && withPorts[protocol] == "" {
			return bad(field+"."+list.name, "ports need a Match.Protocol that has some, not %d", protocol)
		}
		for i, r := range list.ports {
			if r.First > r.Last {
				return bad(fmt.Sprintf("%s.%s[%d]", field, list.name, i), "first port %d is after the last, %d", r.First, r.Last)
			}
		}
	}
	switch {
	case m.TCPFlags.Mask != 0 && protocol != protocolTCP:
		return bad(field+".TCPFlags", "flags need Match.Protocol 6, TCP, not %d", protocol)
	case m.TCPFlags.Value&^m.TCPFlags.Mask != 0:
		return bad(field+".TCPFlags", "Value %#x has bits that Mask %#x has not", m.TCPFlags.Value, m.TCPFlags.Mask)
	case m.CTState&^allConnStates != 0:
		return bad(field+".CTState", "there is no state %#x", uint8(m.CTState&^allConnStates))
	case len(m.UIDs) > 0 && (s.Family == Bridge || c.Hook != ipq.Output && c.Hook != ipq.Postrouting):
		return bad(field+".UIDs", "the users of sockets are known at output and postrouting of family inet, not at %v of %v", c.Hook, s.Family)
	case len(m.InDevs) > 0 && c.Hook == ipq.Output:
		return bad(field+".InDevs", "packets at %v have not come in by a link", c.Hook)
	case len(m.OutDevs) > 0 && (c.Hook == ipq.Prerouting || c.Hook == ipq.Input):
		return bad(field+".OutDevs", "by which link packets go out is not known at %v", c.Hook)
	}
	if err := checkLinks(field+".InDevs", m.InDevs); err != nil {
		return err
	}
	if err := checkLinks(field+".OutDevs", m.OutDevs); err != nil {
		return err
	}
	if err := m.Mark.check(field + ".Mark"); err != nil {
		return err
	}
	if err := m.ConnMark.check(field + ".ConnMark"); err != nil {
		return err
	}
	if err := checkLabels(field+".ConnLabels", m.ConnLabels); err != nil {
		return err
	}
	if name := m.tracks(); name != "" {
		return trackedAt(field+"."+name, c)
	}
	return nil
}

// tracks returns the first field that needs connection tracking, "" for none.
func (m Match) tracks() string {
	switch {
	case m.CTState != 0:
		return "CTState"
	case m.ConnMark.Mask != 0:
		return "ConnMark"
	case len(m.ConnLabels) > 0:
		return "ConnLabels"
	}
	return ""
}

// setsConn returns the first field that changes the packet's connection, "" for none.
func (r Rule) setsConn() string {
	switch {
	case r.SetConnMark.Mask != 0:
		return "SetConnMark"
	case len(r.SetConnLabels) > 0:
		return "SetConnLabels"
	}
	return ""
}

// trackedAt returns an error if the chain comes before connections are known.
func trackedAt(field string, c Chain) error {
	if c.Priority <= afterTracking && early(c.Hook) {
		return bad(field, "at %v connections are known after priority %d only, the chain has %d", c.Hook, afterTracking, c.Priority)
	}
	return nil
}

func (m Mark) check(field string) error {
	if m.Value&^m.Mask != 0 {
		return bad(field, "Value %#x has bits that Mask %#x has not", m.Value, m.Mask)
	}
	return nil
}

func checkLabels(field string, labels []uint8) error {
	for i, label := range labels {
		if label > maxLabel {
			return bad(fmt.Sprintf("%s[%d]", field, i), "label %d: the last is %d", label, maxLabel)
		}
	}
	return nil
}

func checkLinks(field string, names []string) error {
	for i, name := range names {
		field := fmt.Sprintf("%s[%d]", field, i)
		prefix, _ := strings.CutSuffix(name, "*")
		switch {
		case name == "" || name == "*":
			return bad(field, "%q is no name of a link; without condition all links match", name)
		case len(name) > maxLinkName:
			return bad(field, "%q has %d bytes, a link's name at most %d", name, len(name), maxLinkName)
		case strings.ContainsAny(prefix, "/:*\"\\ \t\n\r\v\f\x00"):
			return bad(field, "%q: want a link's name, with * at its end at the most", name)
		}
	}
	return nil
}

const (
	isIPv4 = 1 << iota
	isIPv6
)

// families returns which families a list of addresses has. None has both.
func families(addrs []netip.Prefix) (f uint8) {
	if len(addrs) == 0 {
		return isIPv4 | isIPv6
	}
	if slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return p.Addr().Is4() }) {
		f |= isIPv4
	}
	if slices.ContainsFunc(addrs, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		f |= isIPv6
	}
	return f
}

// prefixMask returns the mask of n bits of an address of size bytes.
func prefixMask(n, size int) []byte {
	mask := make([]byte, size)
	for i := range mask {
		mask[i] = ^byte(0) << (8 - min(max(n-8*i, 0), 8))
	}
	return mask
}
