package bench

import (
	"context"
	"fmt"
	"runtime"
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

// BenchmarkPipeline sends echo requests through a queue. An operation is a
// packet. See the package's documentation for the metrics.
func BenchmarkPipeline(b *testing.B) {
	ns := labtest.New(b)
	if _, err := ns.InstallQueue(netlab.Rule{
		Hook:  netlab.Output,
		Match: netlab.Match{EchoRequest: true},
		Queue: pipelineQueue,
	}); err != nil {
		b.Fatal(err)
	}
	for _, mode := range []struct {
		name    string
		workers int
	}{{"inline", ipq.Inline}, {"pool", 0}} {
		for _, size := range []int{64, 1400} {
			for _, work := range works {
				b.Run(fmt.Sprintf("mode=%s/size=%d/work=%s", mode.name, size, work.name), func(b *testing.B) {
					cfg := ipq.Config{Queue: pipelineQueue, NetNS: ns.FD(), Workers: mode.workers}
					benchPipeline(b, ns, cfg, size, work.handle)
				})
			}
		}
	}
}

func benchPipeline(b *testing.B, ns *netlab.NS, cfg ipq.Config, size int, h ipq.Handler) {
	q, err := ipq.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx, h) }()

	var f *flood.Flood
	if err := ns.Do(func() (err error) {
		f, err = flood.Start(ctx, flood.Config{Count: uint64(b.N), Window: 64, Size: size})
		return err
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := usage(b)
	sent, err := f.Wait()
	used := usage(b).since(before)
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	stop()
	if err := <-ran; err != nil {
		b.Fatal(err)
	}

	s, n := q.Stats(), uint64(b.N)
	if sent.Replies != n || sent.Dropped+sent.Lost+sent.Late+sent.Duplicates != 0 {
		b.Fatalf("not every packet came through: %+v", sent)
	}
	if s.Received != n || s.Verdicts != n || s.Accepted != n || s.UnknownVerdicts+s.RefusedVerdicts != 0 {
		b.Fatalf("not every packet was decided once: %+v", s)
	}
	perPacket := func(total float64) float64 { return total / float64(n) }
	// In place of the testing package's own, which counts the sender's end.
	b.ReportMetric(perPacket(float64(sent.Elapsed.Nanoseconds())), "ns/op")
	b.ReportMetric(float64(n)/sent.Elapsed.Seconds(), "pps")
	b.ReportMetric(perPacket(float64(used.cpu.Nanoseconds())), "cpu-ns/pkt")
	b.ReportMetric(perPacket(float64(used.mallocs)), "allocs/pkt")
	b.ReportMetric(float64(s.Received)/float64(s.Batches), "pkts/recv")
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
