package bypass

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/ipq"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	flood.Main()
	helperMain()
	labtest.Main(m)
}

const (
	queueNumber = 11
	// patience is for what takes milliseconds on an idle machine.
	patience = 2 * time.Minute
)

// needBPF skips the test where the kernel lets nobody but root load programs,
// and the test runs as another. As root they load, or the test fails.
func needBPF(t testing.TB) {
	t.Helper()
	labtest.Need(t)
	if !netlab.Privileged() {
		t.Skip("an ordinary user may not load eBPF programs")
	}
}

// newBypasser makes a Bypasser of the backend for ns.
func newBypasser(t testing.TB, ns *netlab.NS, cfg Config) *Bypasser {
	t.Helper()
	if cfg.Backend == EBPF {
		needBPF(t)
	}
	cfg.NetNS = ns.FD()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// held returns a duplicate of the namespace's descriptor until the test ends.
func held(t testing.TB, ns *netlab.NS) *os.File {
	t.Helper()
	f, err := netns.Dup(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// nft returns a connection to the kernel's rules in ns.
func nft(t testing.TB, ns *netlab.NS) *nftconn.Conn {
	t.Helper()
	conn, err := nftconn.Dial(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func install(t testing.TB, b *Bypasser, r Rules) *Ruleset {
	t.Helper()
	r.Queue = queueNumber
	set, err := b.Install(r)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// serve runs a queue in ns until stop is called, or the test ends.
func serve(t testing.TB, ns *netlab.NS, b *Bypasser, cfg ipq.Config, h ipq.Handler) (q *ipq.Queue, stop func()) {
	t.Helper()
	cfg.Queue, cfg.NetNS = queueNumber, ns.FD()
	if b != nil {
		cfg.Bypass = b
	}
	q, err := ipq.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, h) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := q.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	t.Cleanup(stop)
	return q, stop
}

// A pair is two UDP sockets that talk to each other, which may be in different
// namespaces.
type pair struct {
	a, b *net.UDPConn
	sent int // messages of delivered
}

// newPair makes the pair at these addresses, with ports; 0 is any.
func newPair(t testing.TB, nsA *netlab.NS, addrA string, nsB *netlab.NS, addrB string) *pair {
	t.Helper()
	listen := func(ns *netlab.NS, addr string) (c *net.UDPConn) {
		if err := ns.Do(func() (err error) {
			c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	return &pair{a: listen(nsA, addrA), b: listen(nsB, addrB)}
}

func addrOf(c *net.UDPConn) netip.AddrPort {
	addr := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// flow is that of the packets from a to b.
func (p *pair) flow() ipq.Flow {
	a, b := addrOf(p.a), addrOf(p.b)
	return ipq.Flow{Src: a.Addr(), Dst: b.Addr(), SrcPort: a.Port(), DstPort: b.Port(), Protocol: unix.IPPROTO_UDP}
}

func send(t testing.TB, from, to *net.UDPConn, text string) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort([]byte(text), addrOf(to)); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next message that comes to c.
func receive(t testing.TB, c *net.UDPConn) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 65535)
	n, _, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatalf("no message: %v", err)
	}
	return string(b[:n])
}

// exchange sends a message each way and waits for both to arrive.
func (p *pair) exchange(t testing.TB) {
	t.Helper()
	send(t, p.a, p.b, "there")
	receive(t, p.b)
	send(t, p.b, p.a, "back")
	receive(t, p.a)
}

// eachBackend runs the test with all means.
func eachBackend(t *testing.T, test func(t *testing.T, backend Backend)) {
	for _, backend := range []Backend{EBPF, ConnMark, NFTSet} {
		t.Run(backend.String(), func(t *testing.T) { test(t, backend) })
	}
}

// runFlood floods ns and waits for the end.
func runFlood(t testing.TB, ns *netlab.NS, cfg flood.Config) flood.Stats {
	t.Helper()
	cfg.Timeout = patience
	var f *flood.Flood
	err := ns.Do(func() (err error) {
		f, err = flood.Start(t.Context(), cfg)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// transfer sends bytes over TCP through the router, and returns how long it
// takes from the first to the last.
func transfer(t testing.TB, n *labtest.Network, size int64) time.Duration {
	t.Helper()
	var l net.Listener
	if err := n.Server.Do(func() (err error) {
		l, err = net.Listen("tcp", "10.2.0.1:0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var c net.Conn
	if err := n.Client.Do(func() (err error) {
		c, err = net.Dial("tcp", l.Addr().String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(2 * patience))
	began := time.Now()
	go func() {
		chunk := make([]byte, 1<<20)
		for left := size; left > 0; left -= int64(len(chunk)) {
			if _, err := c.Write(chunk[:min(left, int64(len(chunk)))]); err != nil {
				return
			}
		}
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s}, make([]byte, 1<<20))
	if err != nil || got != size {
		t.Fatalf("%d of %d bytes: %v", got, size, err)
	}
	return time.Since(began)
}
