//go:build linux

// Command peers runs programs that decide the packets of one netfilter queue
// under the same flood, one after the other, round by round, and compares them.
//
//	go run . -mode saturated
//	go run . -mode paced -rate 150000 -rounds 5 -json paced.json
//
// The flood runs on CPU 0, the consumer on CPU 1, both in a private network
// namespace: root and ordinary users can run it, and the machine's own firewall
// is left alone. A saturated run shows how many packets a second a consumer
// decides when there are always more; a paced run shows what one packet costs
// it in CPU time, user and system, when all have the same to do. A consumer that
// decides nearly all of a saturated flood outran it: then the rate is the
// flood's, and only the CPU time tells what the consumer could carry; -share then
// lets a busy program take half of the consumer's CPU, which is the same for all.
//
// The figures are the consumers' own, held against those of the flood and of
// the kernel's queue; where they disagree, the report says so.
//
// It is a module of its own so that goipq depends on none of its peers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"golang.org/x/sys/unix"
)

// The main goroutine stays on its thread, so that a consumer can inherit the
// thread's affinity.
func init() { runtime.LockOSThread() }

func main() {
	flood.Main()
	runGoConsumer()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

type options struct {
	mode, consumers, base, json string
	rate                        float64
	rounds, maxLen, size        int
	replies, share              bool
	duration                    time.Duration
}

func parse() options {
	var o options
	var names []string
	for _, c := range consumers {
		names = append(names, c.name)
	}
	flag.StringVar(&o.mode, "mode", "saturated", "saturated (flood as fast as possible) or paced (at -rate)")
	flag.Float64Var(&o.rate, "rate", 150_000, "packets per second of a paced run")
	flag.IntVar(&o.rounds, "rounds", 5, "times each consumer is measured")
	flag.DurationVar(&o.duration, "duration", 2*time.Second, "measured time of one consumer in one round")
	flag.StringVar(&o.consumers, "consumers", strings.Join(names, ","), "what to compare")
	flag.StringVar(&o.base, "base", "go-nfqueue", "consumer that the ratios refer to")
	flag.IntVar(&o.maxLen, "maxlen", 1024, "packets the kernel may hold in the queue")
	flag.IntVar(&o.size, "size", 64, "bytes of each packet")
	flag.BoolVar(&o.replies, "replies", false, "let the kernel answer the echo requests, in the consumer's time")
	flag.BoolVar(&o.share, "share", false, "let a busy program share the consumer's CPU, so that the flood saturates the fastest")
	flag.StringVar(&o.json, "json", "", "file to write every single result to")
	flag.Parse()
	return o
}

func run() error {
	o := parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	load := flood.Config{Size: o.size, CPUs: []int{floodCPU}}
	switch o.mode {
	case "saturated":
	case "paced":
		load.Rate = o.rate
	default:
		return fmt.Errorf("-mode is %q, want saturated or paced", o.mode)
	}
	if o.rounds < 1 || o.maxLen < 1 || o.duration <= 0 {
		return errors.New("-rounds, -maxlen and -duration must be greater than zero")
	}
	chosen, err := choose(o.consumers)
	if err != nil {
		return err
	}
	if runtime.NumCPU() < 2 {
		return errors.New("needs two CPUs: one for the flood, one for the consumer")
	}
	if err := netlab.Enter(); err != nil {
		return err
	}
	ns, err := netlab.Current()
	if err != nil {
		return err
	}
	defer ns.Close()
	if !o.replies {
		// An accepted request goes as far as ICMP, and the answer to it would
		// be made within the consumer's verdict: as much work again, and the
		// same for all.
		if err := ns.Sysctl("net.ipv4.icmp_echo_ignore_all", "1"); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if o.share {
		go hog(ctx, consumerCPU)
	}
	l := &lab{ctx: ctx, ns: ns, dir: dir, load: load, duration: o.duration, setup: setup{
		MaxLen: o.maxLen,
		// The kernel charges 832 bytes for a message with a small packet
		// and 2304 with one of 1400; twice leaves room.
		ReadBuffer: 2 * 2304 * o.maxLen,
	}}
	results, err := l.rounds(chosen, o.rounds)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range chosen {
		names = append(names, c.name)
	}
	table(os.Stdout, names, o.base, results)
	if o.json == "" {
		return nil
	}
	settings := map[string]string{"go": runtime.Version(), "arch": runtime.GOARCH}
	flag.VisitAll(func(f *flag.Flag) { settings[f.Name] = f.Value.String() })
	return writeJSON(o.json, settings, results)
}

// hog keeps a CPU busy until ctx ends. It is one thread, as a consumer is most
// of the time, so the scheduler gives each about half.
func hog(ctx context.Context, cpu int) {
	runtime.LockOSThread()
	var one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		fmt.Fprintln(os.Stderr, "peers: -share:", err)
		return
	}
	for ctx.Err() == nil {
	}
}

// choose finds consumers by their names.
func choose(list string) ([]consumer, error) {
	var chosen []consumer
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(consumers, func(c consumer) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no consumer %q", name)
		}
		chosen = append(chosen, consumers[i])
	}
	return chosen, nil
}

// rounds measures every consumer in each round, starting with another one each
// time so that none always follows the same.
func (l *lab) rounds(chosen []consumer, n int) ([]result, error) {
	var results []result
	for round := range n {
		for i := range chosen {
			c := chosen[(i+round)%len(chosen)]
			r, err := l.measure(c)
			if err != nil {
				return nil, fmt.Errorf("round %d, %s: %w", round, c.name, err)
			}
			r.Round = round
			results = append(results, r)
			fmt.Fprintf(os.Stderr, "round %d: %s %.0f/s, %.0f ns CPU a packet\n", round, c.name, r.Rate, r.CPUPerPacket)
		}
	}
	return results, nil
}
