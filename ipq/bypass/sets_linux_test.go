package bypass

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/oddip"
	"github.com/goipq/goipq/ipq"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// A wire puts IP packets on loopback as if they had come from elsewhere, and says
// what the rules of NFTSet at Prerouting make of each.
type wire struct {
	ns    *netlab.NS
	rules *Ruleset
	nft   *nftables.Conn
	sets  map[string]*nftables.Set
	fd    int

	markers *netlab.Ruleset
	marked  uint64
}

func newWire(t testing.TB, limits Limits) (*wire, *Bypasser) {
	t.Helper()
	w := &wire{ns: labtest.New(t), sets: map[string]*nftables.Set{}}
	b := newBypasser(t, w.ns, Config{Backend: NFTSet, Limits: limits})
	var err error
	if w.markers, err = w.ns.InstallDrop(netlab.Prerouting, -10, netlab.Match{L4Proto: markerProtocol}); err != nil {
		t.Fatal(err)
	}
	w.rules = install(t, b, Rules{Hook: ipq.Prerouting})
	if w.nft, err = nftables.New(nftables.WithNetNSFd(w.ns.FD())); err != nil {
		t.Fatal(err)
	}
	all, err := w.nft.GetSets(&nftables.Table{Name: defaultTable, Family: nftables.TableFamilyINet})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		w.sets[s.Name] = s
	}
	if err := w.ns.Do(func() (err error) {
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.fd) })
	return w, b
}

// unsettled is a packet of a flow that is never settled.
var unsettled = ip4(protoUDP, 0, 0, ports(61000, 61001))

// marker is a packet that never comes to the rules: that it was counted before them
// tells that what was sent before it has come through.
const markerProtocol = 254

var marker = ip4(markerProtocol, 0, 0, nil)

// pass puts packets on the wire and waits until the rules have seen them.
func (w *wire) pass(t testing.TB, packets ...[]byte) {
	t.Helper()
	w.marked++
	w.send(t, append(packets, marker)...)
	for began := time.Now(); ; {
		c, err := w.markers.Counters()
		if err != nil {
			t.Fatal(err)
		}
		if c[0].Packets >= w.marked {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("%x: they do not come", packets)
		}
	}
}

// decision puts the packet on the wire and returns what the rules make of it: also
// "none", if the kernel drops it before it comes to them.
func (w *wire) decision(t testing.TB, ip []byte) string {
	t.Helper()
	before := w.count(t)
	w.pass(t, ip)
	c := w.count(t)
	switch (decided{1, 1, 1}) {
	case decided{c.accepted - before.accepted, 1, 1}:
		return "accept"
	case decided{1, c.dropped - before.dropped, 1}:
		return "drop"
	case decided{1, 1, c.queued - before.queued}:
		return "queue"
	}
	return "none"
}

type decided struct{ accepted, dropped, queued uint64 }

func (w *wire) count(t testing.TB) decided {
	t.Helper()
	c, err := w.rules.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return decided{c.Accepted.Packets, c.Dropped.Packets, c.Queued.Packets}
}

// send puts packets on the wire from one CPU, which has them arrive in their order.
func (w *wire) send(t testing.TB, packets ...[]byte) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &all)
	for _, ip := range packets {
		ethertype := uint16(unix.ETH_P_IP)
		if ip[0]>>4 == 6 {
			ethertype = unix.ETH_P_IPV6
		}
		to := &unix.SockaddrLinklayer{Protocol: swap16(ethertype), Ifindex: 1, Halen: 6}
		if err := unix.Sendto(w.fd, sealed(ip), 0, to); err != nil {
			t.Fatal(err)
		}
	}
}

// sealed returns the packet with the checksum that an IPv4 header has.
func sealed(ip []byte) []byte {
	ip = slices.Clone(ip)
	n := int(ip[0]&15) * 4
	if ip[0]>>4 != 4 || n < 20 || n > len(ip) {
		return ip
	}
	ip[10], ip[11] = 0, 0
	sum := uint32(0)
	for i := 0; i < n; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	return ip
}

// put has the sets of a shape hold the flow, as the rules would.
func (w *wire) put(t testing.TB, s shape, f ipq.Flow, set string) {
	t.Helper()
	key := func(f ipq.Flow) []byte {
		first, second := f.SrcPort, f.DstPort
		b := slices.Concat(f.Src.AsSlice(), f.Dst.AsSlice(), []byte{f.Protocol, 0, 0, 0})
		b = append(binary.BigEndian.AppendUint16(b, first), 0, 0)
		return append(binary.BigEndian.AppendUint16(b, second), 0, 0)
	}
	back := f
	back.Src, back.Dst, back.SrcPort, back.DstPort = f.Dst, f.Src, f.DstPort, f.SrcPort
	keys := [][]byte{key(f)}
	if back != f {
		keys = append(keys, key(back))
	}
	for _, name := range []string{set, setActive} {
		of := w.sets[s.set(name)]
		if of == nil {
			continue // there is no idle time
		}
		for _, k := range keys {
			if err := w.nft.SetAddElements(of, []nftables.SetElement{{Key: k, Timeout: time.Hour}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.nft.Flush(); err != nil {
		t.Fatal(err)
	}
}

// clear empties all sets of flows.
func (w *wire) clear(t testing.TB) {
	t.Helper()
	for name, s := range w.sets {
		if name != protocolSet {
			w.nft.FlushSet(s)
		}
	}
	if err := w.nft.Flush(); err != nil {
		t.Fatal(err)
	}
}

func shapeOf(f ipq.Flow) shape {
	shapes := shapes6
	if f.Src.Is4() {
		shapes = shapes4
	}
	switch {
	case hasPorts(f.Protocol):
		return shapes[0]
	case isICMP(f.Protocol):
		return shapes[1]
	}
	return shapes[2]
}

// hasKey reports whether the rules look the packet up: IPv6 with extension headers
// they do not, nor what is too short to be what its protocol says.
func hasKey(ip []byte, f ipq.Flow) bool {
	if ip[0]>>4 == 4 {
		return true
	}
	said := int(binary.BigEndian.Uint16(ip[4:]))
	switch {
	case ip[6] != f.Protocol:
		return false
	case f.Protocol == protoTCP:
		return said >= tcpFlags+1
	case hasPorts(f.Protocol), isICMP(f.Protocol):
		return said >= 8
	}
	return true
}

// agree asserts that the rules decide a packet exactly when recognise knows its flow
// and that is settled. It reports whether the packet came to them.
func (w *wire) agree(t testing.TB, ip []byte) bool {
	t.Helper()
	f, transport := parsed(ip)
	_, err := recognise(f, transport)
	opens := err == nil && f.Protocol == protoTCP && transport[tcpFlags]&0x12 == 0x02
	if !f.IsValid() {
		return false
	}
	came := false
	for _, action := range []string{"accept", "drop"} {
		set := map[string]string{"accept": setAccepted, "drop": setDropped}[action]
		w.clear(t)
		want := "queue"
		if err == nil {
			w.put(t, shapeOf(f), f, set)
			if hasKey(ip, f) && !(opens && action == "accept") {
				want = action
			}
		} else { // no flow must match, however like the packet it is
			like := f
			like.Fragment, like.Unknown = false, false
			for _, numbers := range [][2]uint16{{f.SrcPort, f.DstPort}, {1, 2}, {77, 77}, {0, 0}} {
				like.SrcPort, like.DstPort = numbers[0], numbers[1]
				if _, err := keyOf(like); err == nil {
					w.put(t, shapeOf(like), like, set)
				}
			}
		}
		got := w.decision(t, ip)
		came = came || got != "none"
		if got != want && got != "none" {
			t.Errorf("%x\nflow %v, %v, opens %v: %s, want %s", ip, f, err, opens, got, want)
		}
		if opens && action == "accept" && got != "none" {
			goesOn := slices.Clone(ip)
			goesOn[len(ip)-len(transport)+tcpFlags] = 0x10
			if got := w.decision(t, goesOn); got != "queue" {
				t.Errorf("%x: its flow is still settled: %s", ip, got)
			}
		}
	}
	w.clear(t)
	if got := w.decision(t, ip); got != "queue" && got != "none" {
		t.Errorf("%x: %s while nothing is settled", ip, got)
	}
	return came
}

var setLimits = map[string]Limits{
	"time-out": {Timeout: time.Hour, Idle: -1},
	"idle":     {Timeout: time.Hour, Idle: time.Minute},
}

// The rules find a flow in a packet only when the library does, and the same one.
// What cannot be told for certain is never decided.
func TestSetsAgreeWithTheLibrary(t *testing.T) {
	for name, limits := range setLimits {
		t.Run(name, func(t *testing.T) {
			w, _ := newWire(t, limits)
			came := 0
			for _, tt := range packets {
				t.Run(tt.name, func(t *testing.T) {
					if w.agree(t, tt.ip) {
						came++
					}
				})
			}
			if came < len(packets)/2 {
				t.Errorf("%d of %d packets came to the rules: the test tests little", came, len(packets))
			}
		})
	}
}

// They agree on what is made of these by chance, and on odd headers.
func TestSetsAgreeOnRandomPackets(t *testing.T) {
	w, _ := newWire(t, setLimits["idle"])
	rng := rand.New(rand.NewPCG(15, 16))
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	came, sure := 0, 0
	for i := range rounds {
		ip := oddip.New(rng, uint16(i))
		if i%2 == 0 {
			ip = slices.Clone(packets[rng.IntN(len(packets))].ip)
			for range rng.IntN(3) {
				ip[rng.IntN(len(ip))] = byte(rng.Uint32() >> rng.IntN(8))
			}
		}
		if !w.agree(t, ip) {
			continue
		}
		came++
		if _, err := recognise(parsed(ip)); err == nil {
			sure++
		}
		if t.Failed() {
			return
		}
	}
	if came < rounds/4 || sure < came/10 || sure > came*9/10 {
		t.Errorf("of %d packets %d came to the rules, %d with a flow: the test tests little", rounds, came, sure)
	}
}

// A packet that is settled adds its flow, in both directions, and another verdict
// replaces that: also one that the rules do not look up themselves.
func TestPacketsSettleTheirFlows(t *testing.T) {
	for name, limits := range setLimits {
		t.Run(name, func(t *testing.T) {
			w, b := newWire(t, limits)
			for _, tt := range packets {
				f, transport := parsed(tt.ip)
				_, err := recognise(f, transport)
				if err == nil && !f.Src.Is4() && tt.ip[6] != f.Protocol {
					err = errExtensions
				}
				if !f.IsValid() || w.decision(t, tt.ip) == "none" {
					continue
				}
				for _, v := range []ipq.Verdict{ipq.Accept, ipq.Drop, ipq.Accept} {
					w.clear(t)
					q, stop := serve(t, w.ns, b, ipq.Config{Workers: ipq.Inline}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
						if p.Flow().SrcPort == 61000 {
							return ipq.Drop
						}
						return v.Bypass()
					}))
					if got := w.decision(t, tt.ip); got != "queue" {
						t.Errorf("%s: %s, before it is settled", tt.name, got)
					}
					w.pass(t, unsettled)
					for began := time.Now(); q.Stats().Dropped == 0 && time.Since(began) < patience; {
						runtime.Gosched()
					}
					stop()
					if s := q.Stats(); (err == nil) != (s.Bypassed == 1) || (err != nil) != (s.BypassFailed == 1) {
						t.Errorf("%s: %v, %d bypassed, %d failed", tt.name, err, s.Bypassed, s.BypassFailed)
					}
					want := "queue"
					opens := err == nil && f.Protocol == protoTCP && transport[tcpFlags]&0x12 == 0x02
					if err == nil && hasKey(tt.ip, f) && !(opens && v == ipq.Accept) {
						want = map[ipq.Verdict]string{ipq.Accept: "accept", ipq.Drop: "drop"}[v]
					}
					if got := w.decision(t, tt.ip); got != want {
						t.Errorf("%s: %s, want %s, after %v", tt.name, got, want, v)
					}
				}
			}
		})
	}
}

// Past each of its limits a flow is queued again. One that is seen all the time goes
// on as long as its time-out is not over, in whichever direction it is seen.
func TestSetsEndFlows(t *testing.T) {
	const short = 400 * time.Millisecond
	for _, tt := range []struct {
		name    string
		limits  Limits
		forEver bool // while it is seen
	}{
		{"time-out", Limits{Timeout: short, Idle: -1}, false},
		{"time-out before idle", Limits{Timeout: short, Idle: time.Minute}, false},
		{"both", Limits{Timeout: 2 * short, Idle: short}, false},
		{"idle", Limits{Timeout: -1, Idle: short}, true},
		{"none", Limits{Timeout: -1, Idle: -1}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := labtest.New(t)
			b := newBypasser(t, ns, Config{Backend: NFTSet, Limits: tt.limits})
			install(t, b, Rules{Hook: ipq.Output, Match: udp})
			q, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() }))
			p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
			p.exchange(t)
			settled, known := time.Now(), uint64(1)
			last := settled
			// over sends a packet, and reports whether its flow has ended, other than
			// by a pause of this machine that was as long as Idle.
			over := func(from, to *net.UDPConn) bool {
				send(t, from, to, "one way only")
				receive(t, to)
				pause := time.Since(last)
				last = time.Now()
				ended := q.Stats().Received > known
				if ended && tt.forEver && pause > short/2 {
					settled, known, ended = last, q.Stats().Received, false
				}
				return ended
			}
			ended := false
			for !ended && (!tt.forEver || time.Since(settled) < 4*short) {
				if ended = over(p.a, p.b); time.Since(settled) > patience {
					t.Fatal("it stays settled")
				}
			}
			if tt.forEver && (ended || over(p.b, p.a)) {
				t.Errorf("it ended after %v", time.Since(settled))
			}
			if took := time.Since(settled); took < short/2 {
				t.Errorf("it ended after %v", took)
			}
			stop()
		})
	}
	t.Run("silent", func(t *testing.T) {
		ns := labtest.New(t)
		b := newBypasser(t, ns, Config{Backend: NFTSet, Limits: Limits{Timeout: time.Hour, Idle: minLimit}})
		install(t, b, Rules{Hook: ipq.Output, Match: udp})
		q, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() }))
		p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
		send(t, p.a, p.b, "settles")
		receive(t, p.b)
		// Nothing is seen while the flow is in the set, which the kernel's own
		// clock says.
		nft, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
		if err != nil {
			t.Fatal(err)
		}
		table := &nftables.Table{Name: defaultTable, Family: nftables.TableFamilyINet}
		for began := time.Now(); ; {
			elements, err := nft.GetSetElements(&nftables.Set{Table: table, Name: shapes4[0].set(setActive)})
			if err != nil {
				t.Fatal(err)
			}
			if len(elements) == 0 {
				break
			}
			if time.Since(began) > patience {
				t.Fatal("it stays active")
			}
		}
		send(t, p.a, p.b, "is queued")
		receive(t, p.b)
		stop()
		if n := q.Stats().Received; n != 2 {
			t.Errorf("%d packets were queued, want 2", n)
		}
	})
}

// A packet that opens a connection ends what packets in front of it have settled,
// though their verdicts are written after it asks for that.
func TestUnsettleComesBehindWhatWaits(t *testing.T) {
	for _, inspect := range []bool{false, true} {
		w, b := newWire(t, setLimits["idle"])
		old, syn, data := ip4(6, 0, 0, tcp(0x18)), ip4(6, 0, 0, tcp(0x02)), ip4(6, 0, 0, tcp(0x10))
		waiting, decide := make(chan struct{}), make(chan struct{})
		h := ipq.Handler(ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
			switch {
			case p.Flow().SrcPort == 61000:
				waiting <- struct{}{}
				<-decide
				return ipq.Drop
			case !opensConnection(p):
				return ipq.Accept.Bypass()
			case !inspect:
				if err := p.Unsettle(); err != nil {
					t.Error(err)
				}
			}
			return ipq.Accept
		}))
		if inspect {
			var err error
			if h, err = b.Inspect(h, Inspection{Packets: 100}); err != nil {
				t.Fatal(err)
			}
		}
		q, stop := serve(t, w.ns, b, ipq.Config{Workers: ipq.Inline}, h)
		w.send(t, unsettled)
		<-waiting
		w.pass(t, old, syn) // they are one batch then
		decide <- struct{}{}
		for began := time.Now(); q.Stats().Received < 3 && time.Since(began) < patience; {
			runtime.Gosched()
		}
		stop()
		if s := q.Stats(); s.Batches != 2 || s.Bypassed != 1 {
			t.Errorf("%d batches, %d bypassed, want 2 and 1", s.Batches, s.Bypassed)
		}
		if got := w.decision(t, data); got != "queue" {
			t.Errorf("inspect %v: the new connection's data: %s", inspect, got)
		}
	}
}

// What opens a connection unsettles its flow also behind extension headers, but for
// those that nft does not pass, which is said.
func TestUnsettleBehindExtensions(t *testing.T) {
	w, b := newWire(t, setLimits["time-out"])
	data := ip6(6, tcp(0x10))
	f, _ := parsed(data)
	atomic := []byte{60, 0, 0, 0, 0, 0, 0, 1}
	for _, tt := range []struct {
		syn  []byte
		fail error
	}{
		{ip6(6, tcp(0x02)), nil},
		{ip6(60, extension(44, 1), atomic, extension(6, 0), tcp(0x02)), nil},
		{ip6(51, extension(6, 4)[:24], tcp(0x02)), ErrFlow},
		{ip6(60, extension(44, 1), atomic, extension(51, 0), extension(6, 4)[:24], tcp(0x02)), ErrFlow},
	} {
		w.clear(t)
		errs := make(chan error, 1)
		decide := make(chan struct{})
		q, stop := serve(t, w.ns, b, ipq.Config{Workers: ipq.Inline}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
			errs <- p.Unsettle()
			<-decide
			return ipq.Accept
		}))
		w.pass(t, tt.syn)
		if err := <-errs; !errors.Is(err, tt.fail) {
			t.Errorf("%x: %v", tt.syn, err)
		}
		w.put(t, shapeOf(f), f, setAccepted) // as one in front of it would have
		decide <- struct{}{}
		stop()
		want := "queue"
		if tt.fail != nil {
			want = "accept"
		}
		if got := w.decision(t, data); got != want || q.Stats().Received != 1 {
			t.Errorf("%x: %s, want %s; %d packets received", tt.syn, got, want, q.Stats().Received)
		}
	}
}

// Where there is no room flows are queued, and packets keep their verdicts. It is
// counted.
func TestFullSets(t *testing.T) {
	ns := labtest.New(t)
	b := newBypasser(t, ns, Config{Backend: NFTSet, Size: 1})
	rules := install(t, b, Rules{Hook: ipq.Input, Match: udp})
	q, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		if p.Flow().SrcPort%2 == 0 {
			return ipq.Drop.Bypass()
		}
		return ipq.Accept.Bypass()
	}))
	const flows = 8
	for i := range flows {
		p := newPair(t, ns, "127.0.0.1:"+[]string{"9001", "9003", "9005", "9007", "9009", "9011", "9013", "9015"}[i], ns, "127.0.0.1:0")
		for range 2 {
			send(t, p.a, p.b, "text")
			receive(t, p.b)
		}
	}
	dropped := newPair(t, ns, "127.0.0.1:9002", ns, "127.0.0.1:0")
	send(t, dropped.a, dropped.b, "never")
	last := newPair(t, ns, "127.0.0.1:9017", ns, "127.0.0.1:0")
	send(t, last.a, last.b, "text")
	receive(t, last.b)
	stop()
	c, err := rules.Counters()
	if err != nil || c.Accepted.Packets != 1 || c.NoRoom.Packets < flows {
		t.Errorf("%+v, %v", c, err)
	}
	if s := q.Stats(); s.Received != c.Queued.Packets || c.Queued.Packets+c.Accepted.Packets != 2*flows+2 {
		t.Errorf("%d packets received, %+v", s.Received, c)
	}
}

// What sets cannot do is said, by the field that asks for it.
func TestSetsSayWhatTheyCannotDo(t *testing.T) {
	for field, cfg := range map[string]Config{
		"Config.Limits.MaxPackets": {Limits: Limits{MaxPackets: 1}},
		"Config.Limits.MaxBytes":   {Limits: Limits{MaxBytes: 1}},
		"Config.Lease":             {Lease: time.Second},
		"Config.PinDir":            {PinDir: "/sys/fs/bpf/x"},
	} {
		cfg.Backend = NFTSet
		_, err := New(cfg)
		var f *FieldError
		if !errors.As(err, &f) || f.Field != field || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, limits := range []Limits{{Timeout: minLimit - 1}, {Idle: 1}} {
		if _, err := New(Config{Backend: NFTSet, Limits: limits}); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", limits, err)
		}
	}
	ns := labtest.New(t)
	b := newBypasser(t, ns, Config{Backend: NFTSet})
	if _, err := b.Lines(Rules{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Lines: %v", err)
	}
	if _, err := b.Table().Counters(); !errors.Is(err, ErrNoTable) {
		t.Errorf("Counters: %v", err)
	}
	for range 2 {
		rules := install(t, b, Rules{Hook: ipq.Output})
		var f *FieldError
		if _, err := b.Install(Rules{Table: "second", Hook: ipq.Input}); !errors.As(err, &f) || f.Field != "Rules" {
			t.Errorf("a second ruleset: %v", err)
		}
		if err := rules.Remove(); err != nil {
			t.Error(err)
		}
	}
}
