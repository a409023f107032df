package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
	"golang.org/x/sys/unix"
)

// BenchmarkTCP sends TCP from a client through a router to a server, and queues
// it in the router: in super-packets whole, of which the handler gets all or the
// headers, in segments (gso=off), and for comparison not at all. With
// work=rewrite the handler changes every byte of payload. An operation is a
// mebibyte.
func BenchmarkTCP(b *testing.B) {
	b.Run("mode=unqueued", func(b *testing.B) { benchTCP(b, nil, nil) })
	for _, mode := range modes {
		for _, kind := range []struct {
			name string
			gso  bool
			snap int
			work ipq.HandlerFunc
		}{
			{"gso=on/snap=all", true, 0, accept},
			{"gso=on/snap=128", true, 128, accept},
			{"gso=off/snap=all", false, 0, accept},
			{"gso=on/work=rewrite", true, 0, flipTCP},
			{"gso=off/work=rewrite", false, 0, flipTCP},
		} {
			b.Run(fmt.Sprintf("mode=%s/%s", mode.name, kind.name), func(b *testing.B) {
				benchTCP(b, &ipq.Config{Workers: mode.workers, GSO: kind.gso, SnapLen: kind.snap}, kind.work)
			})
		}
	}
}

func accept(*ipq.Packet) ipq.Verdict { return ipq.Accept }

// flipTCP inverts every bit of a TCP payload.
func flipTCP(p *ipq.Packet) ipq.Verdict {
	h := p.Transport()
	if len(h) < 20 || len(h) == int(h[12]>>4)*4 {
		return ipq.Accept
	}
	b, err := p.EditPayload()
	if err != nil {
		return ipq.Drop
	}
	b = b[len(b)-len(h)+int(h[12]>>4)*4:]
	for ; len(b) >= 8; b = b[8:] {
		binary.NativeEndian.PutUint64(b, ^binary.NativeEndian.Uint64(b))
	}
	for i := range b {
		b[i] ^= 0xff
	}
	return ipq.Accept
}

const (
	tcpPort    = 8080
	tcpStreams = 8
	mebibyte   = 1 << 20
)

var behindServer = netip.MustParsePrefix("198.19.0.0/16") // for tests of networks (RFC 2544)

func benchTCP(b *testing.B, cfg *ipq.Config, work ipq.Handler) {
	client, router, server := newRoute(b)
	packets := func() ipq.Stats { return ipq.Stats{} }
	if cfg != nil {
		if _, err := router.InstallQueue(netlab.Rule{
			Hook:  netlab.Forward,
			Match: netlab.Match{L4Proto: unix.IPPROTO_TCP},
			Queue: pipelineQueue,
		}); err != nil {
			b.Fatal(err)
		}
		q, stop := serve(b, router, *cfg, work)
		defer stop()
		packets = q.Stats
	}
	to := start(b, server, func() (*flood.Flood, error) {
		return flood.StartServer(b.Context(), flood.Server{Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), tcpPort)})
	})
	from := start(b, client, func() (*flood.Flood, error) {
		return flood.StartClient(b.Context(), flood.Client{To: behindServer, Port: tcpPort, Streams: tcpStreams})
	})
	read := func() uint64 { return to.Stats().Bytes }
	await(b, read, 1)

	b.ReportAllocs()
	b.ResetTimer()
	before, used, began := read(), usage(b), time.Now()
	was := packets()
	await(b, read, before+uint64(b.N)*mebibyte)
	bytes, elapsed := read()-before, time.Since(began)
	used = usage(b).since(used)
	now := packets()
	b.StopTimer()
	if _, err := from.Stop(); err != nil {
		b.Fatal(err)
	}
	if _, err := to.Stop(); err != nil {
		b.Fatal(err)
	}

	b.ReportMetric(float64(elapsed.Nanoseconds())*mebibyte/float64(bytes), "ns/op")
	b.ReportMetric(float64(bytes)*8/1e6/elapsed.Seconds(), "Mbit/s")
	b.ReportMetric(float64(used.cpu.Nanoseconds())*1024/float64(bytes), "cpu-ns/KiB")
	if n := now.Received - was.Received; n > 0 {
		b.ReportMetric(float64(n)/elapsed.Seconds(), "pps")
		b.ReportMetric(float64(used.cpu.Nanoseconds())/float64(n), "cpu-ns/pkt")
		b.ReportMetric(float64(used.mallocs)/float64(n), "allocs/pkt")
		b.ReportMetric(float64(n)/float64(now.Batches-was.Batches), "pkts/recv")
	} else if cfg != nil && now.Received == 0 { // a batch holds a mebibyte, and is counted at its end
		b.Fatalf("%d bytes came through, and no packet was queued", bytes)
	}
}

// await waits until a count is at least n, as long as it grows.
func await(b *testing.B, count func() uint64, n uint64) {
	b.Helper()
	const patience = 30 * time.Second // without any progress
	last, since := uint64(0), time.Now()
	for now := count(); now < n; now = count() {
		if now > last {
			last, since = now, time.Now()
		} else if time.Since(since) > patience {
			b.Fatalf("stuck for %v after %d of %d bytes", patience, now, n)
		}
		time.Sleep(100 * time.Microsecond) // far less than a benchmark takes
	}
}

func start(b *testing.B, ns *netlab.NS, f func() (*flood.Flood, error)) (child *flood.Flood) {
	b.Helper()
	if err := ns.Do(func() (err error) {
		child, err = f()
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return child
}

// newRoute returns three namespaces that veth pairs join, the second between the
// others.
func newRoute(b *testing.B) (client, router, server *netlab.NS) {
	b.Helper()
	client, router, server = labtest.New(b), labtest.New(b), labtest.New(b)
	err := router.Sysctl("net.ipv4.ip_forward", "1")
	for i, end := range []*netlab.NS{client, server} {
		link, gate := fmt.Sprintf("eth%d", i), fmt.Sprintf("10.%d.0.1", i)
		err = errors.Join(err,
			netlab.Veth(end, "eth0", router, link),
			router.Addr(link, gate+"/24"),
			end.Addr("eth0", fmt.Sprintf("10.%d.0.2/24", i)),
			end.Route("0.0.0.0/0", gate))
	}
	if err = errors.Join(err, server.Local(behindServer.String()), router.Route(behindServer.String(), "10.1.0.2")); err != nil {
		b.Fatal(err)
	}
	return client, router, server
}
