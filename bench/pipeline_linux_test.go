package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
	"golang.org/x/sys/unix"
)

const pipelineQueue = 7

// works are what the handlers do with a packet.
var works = []struct {
	name   string
	handle ipq.HandlerFunc
}{
	{"accept", func(*ipq.Packet) ipq.Verdict { return ipq.Accept }},
	{"flow", func(p *ipq.Packet) ipq.Verdict {
		if p.Flow().Protocol != unix.IPPROTO_ICMP {
			return ipq.Drop
		}
		return ipq.Accept
	}},
	{"mark", func(*ipq.Packet) ipq.Verdict { return ipq.Accept.WithMark(42) }},
	{"rewrite", func(p *ipq.Packet) ipq.Verdict {
		payload, err := p.EditPayload()
		if err != nil {
			return ipq.Drop
		}
		payload[len(payload)-1] ^= 0xff
		return ipq.Accept
	}},
}

// modes are the ways of running handlers.
var modes = []struct {
	name    string
	workers int
}{{"inline", ipq.Inline}, {"pool", 0}}

// BenchmarkPipeline sends echo requests through a queue. An operation is a
// packet. See the package's documentation for the metrics.
func BenchmarkPipeline(b *testing.B) {
	ns := queueEchoes(b)
	for _, mode := range modes {
		for _, size := range []int{64, 1400} {
			for _, work := range works {
				b.Run(fmt.Sprintf("mode=%s/size=%d/work=%s", mode.name, size, work.name), func(b *testing.B) {
					benchPipeline(b, ns, ipq.Config{Workers: mode.workers}, size, work.handle)
				})
			}
		}
	}
}

// BenchmarkHandlerTimeout is BenchmarkPipeline with handlers that are watched,
// and none of which is late.
func BenchmarkHandlerTimeout(b *testing.B) {
	ns := queueEchoes(b)
	for _, mode := range modes {
		b.Run("mode="+mode.name, func(b *testing.B) {
			cfg := ipq.Config{Workers: mode.workers, HandlerTimeout: time.Minute}
			benchPipeline(b, ns, cfg, 64, works[0].handle)
		})
	}
}

// BenchmarkHistograms is BenchmarkPipeline with and without Config.Histograms.
func BenchmarkHistograms(b *testing.B) {
	ns := queueEchoes(b)
	for _, mode := range modes {
		for _, on := range []bool{false, true} {
			b.Run(fmt.Sprintf("mode=%s/histograms=%v", mode.name, on), func(b *testing.B) {
				cfg := ipq.Config{Workers: mode.workers, Histograms: on}
				benchPipeline(b, ns, cfg, 64, works[0].handle)
			})
		}
	}
}

// BenchmarkDefer is BenchmarkPipeline with verdicts that are put off, and given
// by another goroutine as soon as it can.
func BenchmarkDefer(b *testing.B) {
	ns := queueEchoes(b)
	for _, mode := range modes {
		b.Run("mode="+mode.name, func(b *testing.B) {
			put := make(chan *ipq.Deferred, window) // no more packets are on their way
			defer close(put)
			go func() {
				for d := range put {
					if err := d.Verdict(ipq.Accept); err != nil {
						b.Errorf("decide a deferred packet: %v", err)
					}
				}
			}()
			cfg := ipq.Config{Workers: mode.workers, DeferTimeout: time.Minute}
			benchPipeline(b, ns, cfg, 64, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
				d, err := p.Defer()
				if err != nil {
					b.Errorf("defer a packet: %v", err)
					return ipq.Drop
				}
				put <- d
				return ipq.Drop
			}))
		})
	}
}

// queueEchoes returns a namespace whose echo requests are queued.
func queueEchoes(b *testing.B) *netlab.NS {
	b.Helper()
	ns := labtest.New(b)
	if _, err := ns.InstallQueue(netlab.Rule{
		Hook:  netlab.Output,
		Match: netlab.Match{EchoRequest: true},
		Queue: pipelineQueue,
	}); err != nil {
		b.Fatal(err)
	}
	return ns
}

// serve runs a queue in ns until stop is called.
func serve(b *testing.B, ns *netlab.NS, cfg ipq.Config, h ipq.Handler) (q *ipq.Queue, stop func()) {
	b.Helper()
	cfg.Queue, cfg.NetNS = pipelineQueue, ns.FD()
	q, err := ipq.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx, h) }()
	return q, sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ran, q.Close()); err != nil {
			b.Error(err)
		}
	})
}

// window is how many requests are unanswered at any time.
const window = 64

// startFlood starts one in ns.
func startFlood(b *testing.B, ns *netlab.NS, cfg flood.Config) (f *flood.Flood) {
	b.Helper()
	cfg.Window = window
	if err := ns.Do(func() (err error) {
		f, err = flood.Start(b.Context(), cfg)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return f
}

// answered waits for the flood's end, and for every reply.
func answered(b *testing.B, f *flood.Flood, n uint64) flood.Stats {
	b.Helper()
	sent, err := f.Wait()
	if err != nil {
		b.Fatal(err)
	}
	if sent.Replies != n || sent.Dropped+sent.Lost+sent.Late+sent.Duplicates != 0 {
		b.Fatalf("not every packet came through: %+v", sent)
	}
	return sent
}

func benchPipeline(b *testing.B, ns *netlab.NS, cfg ipq.Config, size int, h ipq.Handler) {
	q, stop := serve(b, ns, cfg, h)
	defer stop()
	n := uint64(b.N)
	f := startFlood(b, ns, flood.Config{Count: n, Size: size})
	b.ReportAllocs()
	b.ResetTimer()
	before := usage(b)
	sent := answered(b, f, n)
	used := usage(b).since(before)
	b.StopTimer()
	stop()

	s := q.Stats()
	if s.Received != n || s.Verdicts != n || s.Accepted != n || s.UnknownVerdicts+s.RefusedVerdicts != 0 {
		b.Fatalf("not every packet was decided once: %+v", s)
	}
	reportPackets(b, n, sent.Elapsed, used.cpu)
	b.ReportMetric(float64(used.mallocs)/float64(n), "allocs/pkt")
	b.ReportMetric(float64(s.Received)/float64(s.Batches), "pkts/recv")
}

// reportPackets reports what a packet took, in place of the testing package's
// own ns/op, which counts the sender's start and end.
func reportPackets(b *testing.B, n uint64, elapsed, cpu time.Duration) {
	b.ReportMetric(float64(elapsed.Nanoseconds())/float64(n), "ns/op")
	b.ReportMetric(float64(n)/elapsed.Seconds(), "pps")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(n), "cpu-ns/pkt")
}

// resources is what this process has used so far.
type resources struct {
	cpu     time.Duration // user and system
	mallocs uint64
}

func usage(b *testing.B) resources {
	b.Helper()
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return resources{time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), ms.Mallocs}
}

func (r resources) since(before resources) resources {
	return resources{r.cpu - before.cpu, r.mallocs - before.mallocs}
}
