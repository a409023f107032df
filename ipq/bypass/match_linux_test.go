package bypass

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// What a Match selects is queued, decided by the kernel once its flow is
// settled, and counted; the rules leave everything else alone, settled or not.
func TestRulesSelect(t *testing.T) {
	const port = 5353
	// The packets are two datagrams of UDP, an echo request and its reply, over
	// each family.
	for _, c := range []struct {
		name  string
		match []Match
		want  uint64
	}{
		{"everything", nil, 8},
		{"a family", []Match{{Family: familyIPv4}}, 4},
		{"a protocol", []Match{{Protocol: protoUDP}}, 4},
		{"a protocol of a family", []Match{{Family: familyIPv6, Protocol: protoUDP}}, 2},
		{"a port", []Match{{Protocol: protoUDP, Port: port}}, 4},
		{"another port", []Match{{Protocol: protoUDP, Port: port + 1}}, 0},
		{"a port of a family", []Match{{Family: familyIPv4, Protocol: protoUDP, Port: port}}, 2},
		{"echo requests", []Match{{EchoRequest: true}}, 2},
		{"echo requests over IPv4", []Match{{Family: familyIPv4, EchoRequest: true}}, 1},
		{"echo requests over IPv6", []Match{{Family: familyIPv6, EchoRequest: true}}, 1},
		{"a link", []Match{{OutDev: "lo"}}, 8},
		{"a protocol on a link", []Match{{OutDev: "lo", Protocol: protoUDP}}, 4},
		{"another link", []Match{{OutDev: "eth7"}}, 0},
		{"a link that nothing came in by", []Match{{InDev: "lo"}}, 0},
		{"one or the other", []Match{{Family: familyIPv4, Protocol: protoUDP}, {Family: familyIPv6, EchoRequest: true}}, 3},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			eachBackend(t, func(t *testing.T, backend Backend) {
				ns := labtest.New(t)
				b := newBypasser(t, ns, Config{Backend: backend})
				rules := install(t, b, Rules{Hook: ipq.Output, Match: c.match})
				var settle atomic.Bool
				q, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict {
					if settle.Load() {
						return ipq.Accept.Bypass()
					}
					return ipq.Accept
				}))
				pairs := []*pair{newPair(t, ns, "127.0.0.1:5353", ns, "127.0.0.1:0"), newPair(t, ns, "[::1]:5353", ns, "[::1]:0")}
				round := func() {
					for i, p := range pairs {
						p.exchange(t)
						runFlood(t, ns, flood.Config{IPv6: i == 1, Count: 1, Window: 1}) // with the answer
					}
				}
				round()
				settle.Store(true)
				round()
				before, err := rules.Counters()
				if err != nil {
					t.Fatal(err)
				}
				round()
				stop()
				after, err := rules.Counters()
				if err != nil {
					t.Fatal(err)
				}
				if got := after.Accepted.Packets - before.Accepted.Packets; got != c.want || after.Queued != before.Queued {
					t.Errorf("of the settled flows %d packets accepted, want %d; before %+v, after %+v", got, c.want, before, after)
				}
				// Of two rounds every packet was queued, or already accepted.
				first := (before.Queued.Packets + before.Accepted.Packets) / 2
				if s := q.Stats(); first != c.want || s.Received != before.Queued.Packets {
					t.Errorf("before the flows were settled %d packets queued, want %d; %+v, queue received %d", first, c.want, before, s.Received)
				}
			})
		})
	}
}

// Only a first fragment says that it is of an echo request: the others are not
// selected, and the flow is nobody's to settle.
func TestFragmentsOfEchoRequests(t *testing.T) {
	for _, c := range []struct {
		family         uint8
		network, addr  string
		request, reply byte
	}{
		{familyIPv4, "ip4:icmp", "127.0.0.1", 8, 0},
		{familyIPv6, "ip6:ipv6-icmp", "::1", 128, 129},
	} {
		ns := labtest.New(t)
		if err := ns.SetMTU("lo", 1500); err != nil {
			t.Fatal(err)
		}
		b := newBypasser(t, ns, Config{Backend: EBPF})
		rules := install(t, b, Rules{Hook: ipq.Prerouting, Match: []Match{{Family: c.family, EchoRequest: true}}})
		_, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() }))
		var conn net.PacketConn
		if err := ns.Do(func() (err error) {
			conn, err = net.ListenPacket(c.network, c.addr)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		// The checksum of a request for 0 that is otherwise zero; the kernel makes
		// that of ICMPv6.
		request := make([]byte, 4000)
		request[0], request[2], request[3] = c.request, ^c.request, 0xff
		const count = 5
		for range count {
			if _, err := conn.WriteTo(request, conn.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			for got := make([]byte, 4096); ; { // the socket sees the request, too
				if n, _, err := conn.ReadFrom(got); err != nil {
					t.Fatalf("%s: no reply: %v", c.addr, err)
				} else if n == len(request) && got[0] == c.reply {
					break
				}
			}
		}
		conn.Close()
		stop()
		if n, err := rules.Counters(); err != nil || n.Queued.Packets != count || n.Accepted.Packets != 0 {
			t.Errorf("%s: %+v, %v; want %d queued", c.addr, n, err, count)
		}
	}
}
