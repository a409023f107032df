package rules

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// A flow is one of those that a test sends packets of.
type flow struct {
	a, b     netip.AddrPort
	protocol uint8
}

func (f flow) reverse() flow {
	f.a, f.b = f.b, f.a
	return f
}

// packet returns a packet of the flow, from a to b.
func (f flow) packet(payload []byte) []byte {
	header := make([]byte, 8)
	if f.protocol == unix.IPPROTO_TCP {
		header = make([]byte, 20)
		header[12], header[13] = 5<<4, ACK
	}
	binary.BigEndian.PutUint16(header[0:], f.a.Port())
	binary.BigEndian.PutUint16(header[2:], f.b.Port())
	if f.protocol == unix.IPPROTO_UDP {
		binary.BigEndian.PutUint16(header[4:], uint16(8+len(payload)))
	}
	return f.ip(f.protocol, append(header, payload...))
}

func (f flow) ip(next uint8, body []byte) []byte {
	src, dst := f.a.Addr().AsSlice(), f.b.Addr().AsSlice()
	if f.a.Addr().Is6() {
		h := make([]byte, 8, 40)
		h[0], h[6], h[7] = 0x60, next, 64
		binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
		return slices.Concat(h, src, dst, body)
	}
	h := make([]byte, 12, 20)
	h[0], h[8], h[9] = 0x45, 64, next
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(body)))
	return slices.Concat(h, src, dst, body) // the kernel fills in the checksum
}

// pieces returns the packet in pieces of at most size bytes of its body.
func (f flow) pieces(packet []byte, size int, id uint16) (pieces [][]byte) {
	header := 20
	if f.a.Addr().Is6() {
		header = 40
	}
	body := packet[header:]
	for at := 0; at < len(body); at += size {
		piece := body[at:min(at+size, len(body))]
		more := at+size < len(body)
		if header == 40 {
			h := make([]byte, 8)
			h[0] = f.protocol
			binary.BigEndian.PutUint16(h[2:], uint16(at))
			if more {
				h[3] |= 1
			}
			binary.BigEndian.PutUint32(h[4:], uint32(id))
			pieces = append(pieces, f.ip(44, append(h, piece...)))
			continue
		}
		p := f.ip(f.protocol, piece)
		binary.BigEndian.PutUint16(p[4:], id)
		binary.BigEndian.PutUint16(p[6:], uint16(at/8))
		if more {
			p[6] |= 0x20
		}
		pieces = append(pieces, p)
	}
	return pieces
}

// randomFlows returns flows between addresses of 10.0.0.0/8 or fd01::/16.
func randomFlows(n int, protocol uint8, v6 bool) (flows []flow) {
	rng := rand.New(rand.NewPCG(9, uint64(protocol)))
	addr := func() netip.AddrPort {
		b := []byte{10, byte(rng.IntN(256)), byte(rng.IntN(256)), byte(1 + rng.IntN(254))}
		if v6 {
			b = append([]byte{0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, b...)
		}
		a, _ := netip.AddrFromSlice(b)
		return netip.AddrPortFrom(a, uint16(1+rng.IntN(65535)))
	}
	for i := range n {
		f := flow{a: addr(), b: addr(), protocol: protocol}
		if i%2 == 1 { // with addresses of the flow before: only ports tell them apart
			f.a = netip.AddrPortFrom(flows[i-1].a.Addr(), f.a.Port())
			f.b = netip.AddrPortFrom(flows[i-1].b.Addr(), f.b.Port())
		}
		flows = append(flows, f)
	}
	return flows
}

// A sorter sends packets to a namespace and notes which queue each came to.
type sorter struct {
	t        *testing.T
	fd4, fd6 int
	mu       sync.Mutex
	seen     map[string]uint16 // by the packet's bytes behind the addresses
	count    int
	whole    int // packets with ports
}

const flowQueues = 4

func newSorter(t *testing.T, s Set) *sorter {
	t.Helper()
	from, ns := labtest.New(t), labtest.New(t)
	if err := errors.Join(
		netlab.Veth(from, "eth0", ns, "eth0"),
		from.Addr("eth0", "192.0.2.1/24"), ns.Addr("eth0", "192.0.2.2/24"), from.Route("0.0.0.0/0", "192.0.2.2"),
		from.Addr("eth0", "fd00::1/64"), ns.Addr("eth0", "fd00::2/64"), from.Route("::/0", "fd00::2"),
	); err != nil {
		t.Fatal(err)
	}
	o := &sorter{t: t, fd4: rawSocket(t, from, unix.AF_INET), fd6: rawSocket(t, from, unix.AF_INET6), seen: map[string]uint16{}}
	install(t, ns, s)
	serve(t, ns, queueNumber, flowQueues, func(p *ipq.Packet) ipq.Verdict {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.count++
		if p.Flow().DstPort != 0 {
			o.whole++
		}
		o.seen[keyOf(p.Payload())] = p.Queue()
		return ipq.Drop
	})
	return o
}

// keyOf is what the kernel does not change of a packet.
func keyOf(ip []byte) string {
	if ip[0]>>4 == 4 {
		return string(ip[12:]) + string(ip[6:8])
	}
	return string(ip[8:])
}

func (o *sorter) send(packet []byte) {
	o.t.Helper()
	var err error
	if packet[0]>>4 == 4 {
		err = unix.Sendto(o.fd4, packet, 0, &unix.SockaddrInet4{Addr: [4]byte(packet[16:20])})
	} else {
		err = unix.Sendto(o.fd6, packet, 0, &unix.SockaddrInet6{Addr: [16]byte(packet[24:40])})
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// queueOf waits for a packet that was sent, and returns its queue.
func (o *sorter) queueOf(packet []byte) uint16 {
	o.t.Helper()
	var queue uint16
	await(o.t, "a packet to be queued", func() (ok bool) {
		o.mu.Lock()
		defer o.mu.Unlock()
		queue, ok = o.seen[keyOf(packet)]
		return ok
	})
	return queue
}

// byFlow is the Set of a sorter.
func byFlow() Set {
	return one(ipq.Prerouting, Rule{Match: Match{Protocol: protocolUDP}, Queue: &Queue{First: queueNumber, Count: flowQueues, Spread: ByFlow}},
		Rule{Match: Match{Protocol: 6}, Queue: &Queue{First: queueNumber, Count: flowQueues, Spread: ByFlow}})
}

// Both directions of each flow come to one queue, and the queues have equal shares
// of the flows, with or without ports to tell them apart.
func TestByFlow(t *testing.T) {
	t.Parallel()
	n := 10000
	if testing.Short() {
		n = 1000
	}
	for _, c := range []struct {
		name     string
		protocol uint8
		v6       bool
	}{{"UDP over IPv4", 17, false}, {"UDP over IPv6", 17, true}, {"TCP over IPv4", 6, false}, {"TCP over IPv6", 6, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newSorter(t, byFlow())
			flows := randomFlows(n, c.protocol, c.v6)
			shares := make([]int, flowQueues)
			apart := 0 // neighbours with the same addresses in different queues
			before := uint16(0)
			for i, f := range flows {
				there, back := f.packet([]byte("x")), f.reverse().packet([]byte("x"))
				o.send(there)
				o.send(back)
				queue := o.queueOf(there)
				if other := o.queueOf(back); other != queue {
					t.Fatalf("%+v: queues %d and %d", f, queue, other)
				}
				shares[queue-queueNumber]++
				if i%2 == 1 && queue != before {
					apart++
				}
				before = queue
			}
			// Six standard deviations of the binomial distribution.
			within := func(what string, got, of int, p float64) {
				t.Helper()
				want, bound := float64(of)*p, 6*math.Sqrt(float64(of)*p*(1-p))
				if math.Abs(float64(got)-want) > bound {
					t.Errorf("%s: %d of %d, want %.0f within %.0f", what, got, of, want, bound)
				}
			}
			for i, share := range shares {
				within("queue", share, n, 1./flowQueues)
				t.Logf("queue %d: %d of %d flows", i, share, n)
			}
			within("flows told apart by ports", apart, n/2, 1-1./flowQueues)
		})
	}
}

// What is in a tunnel goes by what is inside: here 100 flows between two ends.
func TestByFlowInTunnel(t *testing.T) {
	t.Parallel()
	s := one(ipq.Prerouting, Rule{Match: Match{Protocol: unix.IPPROTO_IPIP}, Queue: &Queue{First: queueNumber, Count: flowQueues, Spread: ByFlow}})
	o := newSorter(t, s)
	tunnel := randomFlows(1, unix.IPPROTO_IPIP, false)[0]
	shares := map[uint16]int{}
	for _, f := range randomFlows(100, protocolUDP, false) {
		there := tunnel.ip(unix.IPPROTO_IPIP, f.packet([]byte("x")))
		back := tunnel.reverse().ip(unix.IPPROTO_IPIP, f.reverse().packet([]byte("x")))
		o.send(there)
		o.send(back)
		queue := o.queueOf(there)
		if other := o.queueOf(back); other != queue {
			t.Fatalf("%+v: queues %d and %d", f, queue, other)
		}
		shares[queue]++
	}
	if len(shares) != flowQueues {
		t.Errorf("shares %v", shares)
	}
}

// All fragments of a datagram come to one queue, the first, which has ports, too.
func TestByFlowFragments(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		o := newSorter(t, byFlow())
		shares := map[uint16]int{}
		for i, f := range randomFlows(200, protocolUDP, v6) {
			queues := map[uint16]bool{}
			for _, f := range []flow{f, f.reverse()} {
				for _, piece := range f.pieces(f.packet(make([]byte, 100)), 32, uint16(i+1)) {
					o.send(piece)
					queue := o.queueOf(piece)
					queues[queue] = true
					shares[queue]++
				}
			}
			if len(queues) != 1 {
				t.Fatalf("IPv6 %v, datagram %d: queues %v", v6, i, queues)
			}
		}
		if len(shares) != flowQueues {
			t.Errorf("IPv6 %v: only queues %v", v6, shares)
		}
	}
}

// With Defrag there are no fragments: their datagrams come to the queue of their
// flow.
func TestDefrag(t *testing.T) {
	t.Parallel()
	s := byFlow()
	s.Defrag = true
	for _, v6 := range []bool{false, true} {
		o := newSorter(t, s)
		flows := randomFlows(100, protocolUDP, v6)
		for i, f := range flows {
			small, large := f.packet([]byte("x")), f.packet(append(make([]byte, 100), byte(i)))
			o.send(small)
			for _, piece := range f.pieces(large, 32, uint16(i+1)) {
				o.send(piece)
			}
			if a, b := o.queueOf(small), o.queueOf(large); a != b {
				t.Fatalf("IPv6 %v, %+v: queues %d and %d", v6, f, a, b)
			}
		}
		o.mu.Lock()
		if o.count != 2*len(flows) || o.whole != o.count {
			t.Errorf("IPv6 %v: %d packets, %d with ports, of %d datagrams", v6, o.count, o.whole, 2*len(flows))
		}
		o.mu.Unlock()
	}
}
