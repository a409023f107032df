package bypass

import (
	"slices"
	"time"

	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/internal/nfttable"
	"github.com/google/nftables/expr"
)

// protocolSet is the set of protocols with ports.
const protocolSet = "protocols"

// A shape is a family, and what tells its flows apart. Each has sets of its own, so
// that no packet can look like one of another shape.
type shape struct {
	name    string // ends the names of its sets and chains
	family  uint8
	numbers nftexpr.Numbers
}

var (
	shapes4 = []shape{{"4", familyIPv4, nftexpr.Ports}, {"4_echo", familyIPv4, nftexpr.EchoID}, {"4_other", familyIPv4, nftexpr.NoPorts}}
	shapes6 = []shape{{"6", familyIPv6, nftexpr.Ports}, {"6_echo", familyIPv6, nftexpr.EchoID}, {"6_other", familyIPv6, nftexpr.NoPorts}}
)

// key is what packets are looked up by.
func (s shape) key() nftexpr.FlowKey {
	return nftexpr.FlowKey{Family: s.family, Numbers: s.numbers, Plain: true}
}

// settled is the key of the packet that settles a flow, which may have extension
// headers, and of those that answer it.
func (s shape) settled(reverse bool) []expr.Any {
	return nftexpr.FlowKey{Family: s.family, Numbers: s.numbers, Reverse: reverse}.Load()
}

func (s shape) icmp() uint8 {
	if s.family == familyIPv4 {
		return protoICMP
	}
	return protoICMPv6
}

// The sets of a shape: the flows of each verdict, for Limits.Timeout, and those of
// both that were seen within Limits.Idle. A packet is decided by the first only
// while its key is in the last, too. To see a packet changes nothing but the last:
// else one that comes as its flow ends could have it settled again.
const (
	setAccepted = "accepted"
	setDropped  = "dropped"
	setActive   = "active"
)

func (s shape) set(name string) string { return name + s.name }

// A setRules makes the rules of [NFTSet].
type setRules struct {
	room          uint32 // of a set
	timeout, idle time.Duration
	// once has the rules write to setActive now and then, not with each packet.
	once           bool
	accept, refuse uint32 // the marks
	queue          expr.Any
}

// idleParts is how often, within Limits.Idle, a flow is noted to be seen.
const idleParts = 8

func (r *setRules) sets() []nfttable.Set {
	all := []nfttable.Set{{Name: protocolSet, What: "NFTSet", Type: nftconn.Protocol}}
	for _, p := range []uint8{protoTCP, protoUDP, protoDCCP, protoSCTP, protoUDPLite} {
		all[0].Elements = append(all[0].Elements, nftconn.Element{Key: []byte{p}})
	}
	names := []string{setAccepted, setDropped}
	if r.idle > 0 {
		names = append(names, setActive)
	}
	for _, s := range slices.Concat(shapes4, shapes6) {
		address := nftconn.IPv4
		if s.family == familyIPv6 {
			address = nftconn.IPv6
		}
		for _, name := range names {
			all = append(all, nfttable.Set{
				Name: s.set(name), What: "NFTSet", Room: r.room,
				Values: []nftconn.SetType{address, address, nftconn.Protocol, nftconn.Port, nftconn.Port},
			})
		}
	}
	return all
}

// A decision is what the rules do with packets of a shape that are of a settled
// flow.
type decision struct {
	shape
	set, chain string // the chain notes that a flow was seen, and decides
	counter    int
	verdict    expr.VerdictKind
	conditions [][]nftexpr.Condition // that a packet must meet: one list for each rule that it takes
}

// What packets of a shape have at least behind the IP header, if they are to be
// decided. Of TCP that is up to the flags.
const (
	leastPorts = 8
	leastTCP   = tcpFlags + 1
	leastEcho  = icmpID + 4
)

// whole asks for a packet that is no fragment and has no header that makes no sense.
// header is how long that of IPv4 is, compared with one without options.
func (s shape) whole(header expr.CmpOp, least uint8) []nftexpr.Condition {
	if s.family == familyIPv6 {
		return []nftexpr.Condition{nftexpr.Payload6(least)} // what is no whole packet has another next header
	}
	return []nftexpr.Condition{nftexpr.Header4(header), nftexpr.Unfragmented()}
}

var opensConn = nftexpr.TCPFlags.Masked([]byte{flagSYN}, []byte{flagSYN | flagACK})

// goesOn returns the decision on packets of accepted flows with ports, which does not
// hold for what opens a connection: that is another flow.
func (s shape) goesOn(header expr.CmpOp) decision {
	notTCP := append(s.whole(header, leastPorts), s.key().Protocol(protoTCP, true))
	tcp := append(s.whole(header, leastTCP), s.key().Protocol(protoTCP, false), opensConn.Not())
	return s.accepted(notTCP, tcp)
}

func (s shape) accepted(conditions ...[]nftexpr.Condition) decision {
	return decision{s, s.set(setAccepted), "accept" + s.name, countAccepted, expr.VerdictAccept, conditions}
}

func (s shape) dropped(conditions ...[]nftexpr.Condition) decision {
	return decision{s, s.set(setDropped), "drop" + s.name, countDropped, expr.VerdictDrop, conditions}
}

// others returns the other decisions of a family.
func others(shapes []shape) []decision {
	flows, echo, other := shapes[0], shapes[1], shapes[2]
	anyLen := expr.CmpOpGte
	notTCP := append(flows.whole(anyLen, leastPorts), flows.key().Protocol(protoTCP, true))
	// Its flags are there, whatever they are.
	tcp := append(flows.whole(anyLen, leastTCP), flows.key().Protocol(protoTCP, false), nftexpr.TCPFlags.Masked([]byte{0}, []byte{0}))
	isEcho := append(echo.whole(anyLen, leastEcho), echo.key().Protocol(echo.icmp(), false), nftexpr.Echo(echo.family))
	noNumbers := append(other.whole(anyLen, 0), other.key().AnyProtocol())
	return []decision{
		echo.accepted(isEcho), other.accepted(noNumbers),
		flows.dropped(notTCP, tcp), echo.dropped(isEcho), other.dropped(noNumbers),
	}
}

// decide adds the rules of a decision: those that only decide, or, if what is
// settled ends by idle time, those that also note that the flow was seen.
func (r *setRules) decide(c *nfttable.Chain, d decision, note bool) {
	if r.idle > 0 && !r.once && !note {
		return // all of them do
	}
	for _, conditions := range d.conditions {
		look := slices.Concat(slices.Concat(conditions...), d.key().LoadRest(), []expr.Any{nftexpr.LoadedIn(d.set)})
		action := &expr.Verdict{Kind: d.verdict}
		if r.idle > 0 {
			look = append(look, nftexpr.LoadedIn(d.shape.set(setActive)))
		}
		if note {
			look = append(look, r.seen(d.shape))
			action = &expr.Verdict{Kind: expr.VerdictGoto, Chain: d.chain}
		}
		addCounted(c, "NFTSet", d.counter, look, action)
	}
}

// seen keeps the key that was loaded in setActive.
func (r *setRules) seen(s shape) expr.Any {
	if !r.once {
		return nftexpr.Keep(s.set(setActive), r.idle)
	}
	return nftexpr.Keep(s.set(setActive), r.idle, nftexpr.Once(r.idle/idleParts))
}

// familyChains decide packets of a family.
type familyChains struct {
	first  []nfttable.Rule // most packets of accepted flows are decided by these
	second nfttable.Chain  // all others
	notes  []nfttable.Chain
	settle nfttable.Chain
	shapes []nfttable.Chain // that settle leads to
}

func (r *setRules) ofFamily(shapes []shape, name string) (f familyChains) {
	flows := shapes[0]
	var first nfttable.Chain
	r.decide(&first, flows.goesOn(expr.CmpOpEq), false)
	f.first = first.Rules
	f.second.Name = chainDecide + name
	if flows.family == familyIPv4 {
		r.decide(&f.second, flows.goesOn(expr.CmpOpGt), false) // those with options
	}
	for i, d := range append([]decision{flows.goesOn(expr.CmpOpGte)}, others(shapes)...) {
		if i > 0 {
			r.decide(&f.second, d, false)
		}
		if r.idle <= 0 {
			continue
		}
		r.decide(&f.second, d, true)
		notes := nfttable.Chain{Name: d.chain}
		reverse := d.key()
		reverse.Reverse = true
		addRule(&notes, "NFTSet", reverse.Load(), []expr.Any{r.seen(d.shape)})
		addRule(&notes, "NFTSet", []expr.Any{&expr.Verdict{Kind: d.verdict}})
		f.notes = append(f.notes, notes)
	}
	// The ports are used again: this is another connection, and nobody has looked
	// at it. It may have extension headers, which the keys of other packets do not
	// have; and be the first fragment, which tells as much.
	opens := slices.Concat(nftexpr.Protocol(protoTCP), opensConn)
	if flows.family == familyIPv4 {
		opens = slices.Concat(nftexpr.FirstOrWhole(), opens)
	}
	forget := []expr.Any{nftexpr.Forget(flows.set(setAccepted))}
	addRule(&f.second, "NFTSet", opens, flows.settled(false), forget, flows.settled(true), forget)
	addCounted(&f.second, "Rules.Queue", countQueued, nil, r.queue)

	f.settle.Name = chainSettle + "_ip" + name
	lead := func(s shape, conditions ...expr.Any) {
		addRule(&f.settle, "NFTSet", conditions, []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chainSettle + s.name}})
	}
	lead(flows, nftexpr.Protocols.In(protocolSet)...)
	lead(shapes[1], nftexpr.Protocol(shapes[1].icmp())...)
	lead(shapes[2])
	for _, s := range shapes {
		f.shapes = append(f.shapes, r.settle(s))
	}
	return f
}

// settle returns the chain that settles flows of a shape as the mark of a packet says,
// or has them queued again if both bits are set.
func (r *setRules) settle(s shape) nfttable.Chain {
	c := nfttable.Chain{Name: chainSettle + s.name}
	bits := r.accept | r.refuse
	says := func(bit uint32) nftexpr.Condition { return nftexpr.PacketMark.Is(bit, bits) }
	clean := nftexpr.PacketMark.Set(0, bits)
	accept, drop := &expr.Verdict{Kind: expr.VerdictAccept}, &expr.Verdict{Kind: expr.VerdictDrop}
	both := func(what ...expr.Any) []expr.Any {
		return slices.Concat(s.settled(false), what, s.settled(true), what)
	}
	accepted, dropped := s.set(setAccepted), s.set(setDropped)
	addRule(&c, "NFTSet", says(bits), clean, both(nftexpr.Forget(accepted), nftexpr.Forget(dropped)), []expr.Any{accept})
	if r.idle > 0 { // a rule for each, since a key that is there may have the packet leave it
		addRule(&c, "NFTSet", s.settled(false), []expr.Any{r.seen(s)})
		addRule(&c, "NFTSet", s.settled(true), []expr.Any{r.seen(s)})
	}
	addRule(&c, "NFTSet", says(r.accept), both(nftexpr.Forget(dropped), nftexpr.Keep(accepted, r.timeout)), clean, []expr.Any{accept})
	addRule(&c, "NFTSet", says(r.refuse), both(nftexpr.Forget(accepted), nftexpr.Keep(dropped, r.timeout)), []expr.Any{drop})
	// There was no room.
	addCounted(&c, "NFTSet", countNoRoom, says(r.refuse), drop)
	addCounted(&c, "NFTSet", countNoRoom, nftexpr.Condition(clean), accept)
	return c
}

// chains returns the chains of a table.
func (r *setRules) chains(rules Rules, selected []selection) []nfttable.Chain {
	four, six := r.ofFamily(shapes4, "4"), r.ofFamily(shapes6, "6")
	jump := func(chain string) []expr.Any {
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
	}
	base, plain6 := rules.chain(chainBase, rules.Priority), nfttable.Chain{Name: chainPlain6}
	decide := &base
	var conditions []expr.Any // of those that are queued
	var chains []nfttable.Chain
	if len(selected) == 1 { // each rule on the way costs every packet
		for _, condition := range selected[0].conditions {
			addRule(&base, selected[0].field, condition.Not(), []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}})
		}
		conditions = slices.Concat(selected[0].conditions...)
	} else {
		decide = &nfttable.Chain{Name: chainDecide}
	}
	plain6.Rules = six.first
	addRule(&plain6, "NFTSet", conditions, jump(six.second.Name))
	decide.Rules = append(decide.Rules, four.first...)
	addRule(decide, "NFTSet", nftexpr.Family(familyIPv6), jump(plain6.Name))
	addRule(decide, "NFTSet", conditions, jump(four.second.Name))
	chains = append(slices.Concat(four.notes, six.notes), four.second, six.second, plain6)
	if decide != &base {
		chains = append(chains, *decide)
		for _, s := range selected {
			addRule(&base, s.field, slices.Concat(s.conditions...), jump(chainDecide))
		}
	}
	// An accepted packet goes on here, never at the next rule of its chain.
	settle := rules.chain(chainSettle, rules.Priority+1)
	settling := nfttable.Chain{Name: chainSettling}
	addRule(&settle, "NFTSet", nftexpr.PacketMark.Is(0, r.accept|r.refuse).Not(), jump(settling.Name))
	addRule(&settling, "NFTSet", nftexpr.Family(familyIPv6), jump(six.settle.Name))
	addRule(&settling, "NFTSet", jump(four.settle.Name))
	return append(slices.Concat(chains, four.shapes, six.shapes), four.settle, six.settle, settling, base, settle)
}
