package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
)

// disturb has packets of both directions lost, repeated, and reordered, before the router
// and behind it: by netem where the kernel has it, or else by a shuffler in each host.
func disturb(t testing.TB, n *labtest.Network) {
	t.Helper()
	type end struct {
		ns   *netlab.NS
		link string
	}
	for i, e := range []end{{n.Client, "router"}, {n.Server, "router"}, {n.Router, "client"}, {n.Router, "server"}} {
		err := e.ns.Do(func() error {
			link, err := netlink.LinkByName(e.link)
			if err != nil {
				return err
			}
			return netlink.QdiscAdd(netlink.NewNetem(
				netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
				netlink.NetemQdiscAttrs{Latency: 1000, Jitter: 500, Loss: 1, Duplicate: 1, ReorderProb: 10, Gap: 5},
			))
		})
		switch {
		case err == nil:
		case i == 0 && errors.Is(err, unix.ENOENT): // there is no netem
			t.Log("disturbed by the test's shuffler")
			shuffle(t, n.Client)
			shuffle(t, n.Server)
			return
		default:
			t.Fatalf("netem: %v", err)
		}
	}
	t.Log("disturbed by netem")
}

const (
	shuffled     = 20 // the queue of what a host sends; the next one's is what it receives
	shuffledMark = 1  // of packets that are sent again
)

// shuffle has a host lose some of the TCP packets that it sends or receives, delay some,
// and send some twice.
func shuffle(t testing.TB, ns *netlab.NS) {
	t.Helper()
	if _, err := ns.InstallQueue(
		netlab.Rule{Hook: netlab.Output, Match: netlab.Match{L4Proto: unix.IPPROTO_TCP, NotMark: shuffledMark}, Queue: shuffled},
		netlab.Rule{Hook: netlab.Input, Match: netlab.Match{L4Proto: unix.IPPROTO_TCP}, Queue: shuffled + 1},
	); err != nil {
		t.Fatal(err)
	}
	var s shuffler
	if err := ns.Do(func() (err error) {
		for i, family := range []int{unix.AF_INET, unix.AF_INET6} {
			if s.raw[i], err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
				return err
			}
			if err := unix.SetsockoptInt(s.raw[i], unix.SOL_SOCKET, unix.SO_MARK, shuffledMark); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// In batches of one: a packet has its verdict before the next one comes.
	q, err := ipq.Open(ipq.Config{Queue: shuffled, Queues: 2, Workers: ipq.Inline, BatchSize: 1, NetNS: ns.FD(), MaxQueueLen: 4096})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx, &s) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		q.Close()
		s.late.Wait()
		for _, fd := range s.raw {
			unix.Close(fd)
		}
	})
}

type shuffler struct {
	raw  [2]int // for IPv4 and IPv6
	late sync.WaitGroup

	mu   sync.Mutex
	held [2][]held // packets that are delayed: those received, and those sent
}

// A held packet goes on before so many later ones of its direction have come, however
// busy the machine is: one that came still later would be behind its receiver's window.
type held struct {
	packet *ipq.Deferred
	left   int
}

// HandlePacket implements [ipq.Handler].
func (s *shuffler) HandlePacket(p *ipq.Packet) ipq.Verdict {
	way := 0
	if p.Hook() == ipq.Output {
		way = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[way] = slices.DeleteFunc(s.held[way], func(h held) bool { return h.left == 0 })
	for i := range s.held[way] {
		h := &s.held[way][i]
		if h.left--; h.left == 0 {
			h.packet.Verdict(ipq.Accept) // unless its time was over
		}
	}
	switch n := rand.IntN(100); {
	case n < 1:
		return ipq.Drop
	case n < 4 && way == 1:
		if ip := p.IP(); ip[0]>>4 == 4 {
			unix.Sendto(s.raw[0], ip, 0, &unix.SockaddrInet4{Addr: [4]byte(ip[16:])}) // if not, it is not repeated
		} else {
			unix.Sendto(s.raw[1], ip, 0, &unix.SockaddrInet6{Addr: [16]byte(ip[24:])})
		}
	case n < 14:
		d, err := p.Defer()
		if err != nil {
			return ipq.Accept
		}
		s.held[way] = append(s.held[way], held{d, 2 + rand.IntN(2)})
		s.late.Add(1)
		time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, func() { // there may be no later ones
			defer s.late.Done()
			d.Verdict(ipq.Accept) // unless it has gone on, or the queue was closed
		})
	}
	return ipq.Accept
}

// A guard sees what an Engine drops of honest connections.
type guard struct {
	*Engine
	mu      sync.Mutex
	began   map[direction]bool // whose segment with SYN has passed
	dropped []string           // what was dropped that its receiver would have taken
}

type direction struct {
	key key
	way uint8
}

// HandlePacket implements [ipq.Handler].
func (g *guard) HandlePacket(p *ipq.Packet) ipq.Verdict {
	var s segment
	_, ok := s.read(p, 0)
	v := g.Engine.HandlePacket(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	d := direction{s.key, s.way}
	switch {
	case ok && v.Kind() == ipq.Accept:
		g.began[d] = g.began[d] || s.has(zerocopy.TCPSyn)
	case ok && s.has(zerocopy.TCPSyn): // which repeats another
	case ok && len(s.data) == 0 && !g.began[d]:
		// A host that is asked once more may answer by an acknowledgement, and that
		// overtake the answer to what it was asked before.
	default:
		g.dropped = append(g.dropped, fmt.Sprintf("%v of %v, flags %#x, %d bytes, began %v", v, p.Flow(), s.flags, len(s.data), g.began[d]))
	}
	return v
}

// Under loss, reordering and repetition, on both sides of the Engine, honest connections
// read what was sent, the Inspector has seen it, and nothing of theirs is dropped that its
// receiver would take.
func TestKernelDisturbedConnections(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		v6, cfg := i&1 != 0, ipq.Config{Queue: 3, Workers: ipq.Inline, GSO: i == 0 || i == 3, MaxQueueLen: 4096}
		if i&2 != 0 {
			cfg.Workers = 2
		}
		t.Run(fmt.Sprintf("v6=%v,workers=%d,gso=%v", v6, cfg.Workers, cfg.GSO), func(t *testing.T) {
			t.Parallel()
			n := labtest.NewNetwork(t)
			var recs []*recorder
			e, err := New(Config{MaxConns: 100, MaxMemory: 32 << 20, MaxBehind: 8 << 20, Open: func(*Conn) Inspector {
				recs = append(recs, &recorder{}) // one after the other
				return recs[len(recs)-1]
			}})
			if err != nil {
				t.Fatal(err)
			}
			g := &guard{Engine: e, began: map[direction]bool{}}
			stop := serveKernel(t, n, cfg, g)
			disturb(t, n)
			var data [][2][]byte
			for s := e.Stats(); len(data) < 3 || s.Early == 0 || s.Retransmitted == 0; s = e.Stats() {
				client, server := pair(t, n, v6)
				data = append(data, exchange(t, client, server, fewer(400_000)))
			}
			queue := stop()
			for i, rec := range recs {
				rec.saw(t, data[i])
			}
			s := e.Stats()
			if len(g.dropped) > 0 || s.Changed != 0 || s.Uninspected != 0 {
				t.Errorf("dropped: %q, %+v, %+v", g.dropped, s, queue.Counts)
			}
			t.Logf("%+v", s)
		})
	}
}
