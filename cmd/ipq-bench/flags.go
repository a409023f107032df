package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/ipq"
)

// modeNames are what -modes chooses from.
var modeNames = []string{report.ModeUnqueued, report.ModeInline, report.ModePool}

const (
	// usualRounds are enough for a median that one disturbed round does not move.
	usualRounds = 5
	maxRounds   = 1000
	// minWindow is so long that a scheduler's time slice does not decide a round.
	// maxDuration is so short that the kernel's drop counters, which have 32 bits,
	// cannot overflow in a window: it would take 6 million lost packets a second.
	minWindow   = 10 * time.Millisecond
	maxDuration = time.Hour
)

// options are what the command line asks for.
type options struct {
	Scenario string
	Handler  handling
	Bypass   bypassing
	Patterns [][]byte // of the inspect handler
	IPv6     bool
	TCP      bool
	GSO      bool
	IMIX     bool
	Flows    int           // 0: the scenario's own number
	Duration time.Duration // of all rounds of a mode
	Rounds   int
	Soak     time.Duration // 0: measure instead
	Latency  bool          // datagrams are timed
	RFC2544  bool          // search for the throughput instead
	Trial    time.Duration
	// Resolution is the percentage within which a search finds the rate, and Tries
	// is how many trials a rate gets.
	Resolution  float64
	Tries       int
	Sweep       *sweeping // nil: one point
	Rate        float64
	Size        int
	Batch       int
	Workers     int // 0: by the number of CPUs
	Queues      int
	BusyPoll    time.Duration
	Pin         bool
	MaxQueueLen int
	Replies     bool
	Modes       []string
	Listen      string // address of the metrics; "": they are not served
	JSON        string
	HTML        string
}

// kind is what kind of run it is.
func (o *options) kind() string {
	switch {
	case o.Soak > 0:
		return report.KindSoak
	case o.RFC2544:
		return report.KindThroughput
	}
	return report.KindRounds
}

// window is the measured time of one round.
func (o *options) window() time.Duration { return o.Duration / time.Duration(o.Rounds) }

// warmUp is the time before it: a quarter of it, but long enough to fill a
// queue, and no longer than it takes to reach a steady state.
func (o *options) warmUp() time.Duration {
	return min(max(o.window()/4, 50*time.Millisecond), 300*time.Millisecond)
}

// texts are the values of flags that are more than a number or a name.
type texts struct {
	modes, handler, patterns, sweep, bypass string
}

func newFlagSet(o *options, t *texts) *flag.FlagSet {
	fs := flag.NewFlagSet("ipq-bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed once, by main
	fs.Usage = func() {}
	fs.StringVar(&o.Scenario, "scenario", report.ScenarioICMP, "`name` of what is sent, and where: icmp or udp on loopback, forward through a\nrouter, or churn, which is short TCP connections through the router")
	fs.StringVar(&t.handler, "handler", report.HandleAccept, "`action` of the handler on each packet: accept, drop, mix:P (drop P percent),\nparse, inspect, rewrite, stream (TCP), spin:TIME or sleep:TIME")
	fs.StringVar(&t.patterns, "patterns", "", "`file` of patterns for -handler inspect, one a line; without it, a built-in list")
	fs.StringVar(&t.bypass, "bypass", "", "`percent` of the flows that the kernel decides after their first 10 packets,\nthrough package bypass; with 0 it looks for flows and finds none")
	fs.BoolVar(&o.IPv6, "6", false, "IPv6 instead of IPv4")
	fs.BoolVar(&o.TCP, "tcp", false, "TCP bulk transfer instead of UDP, for -scenario forward")
	fs.BoolVar(&o.GSO, "gso", true, "queue TCP's super-packets whole; with -gso=false the kernel cuts them\ninto segments first")
	fs.BoolVar(&o.IMIX, "imix", false, "packets of 64, 576 and 1500 bytes as 7:4:1, instead of -size")
	fs.IntVar(&o.Flows, "flows", 0, "`number` of flows of each flood, or of TCP connections at once;\n0 means 1024, 8 for TCP, 32 for churn")
	fs.DurationVar(&o.Duration, "duration", 6*time.Second, "measured `time` for each mode, over all its rounds; 1s makes a quick run")
	fs.IntVar(&o.Rounds, "rounds", usualRounds, "`number` of rounds of each mode, which take turns")
	fs.DurationVar(&o.Soak, "soak", 0, "instead of measuring, run each mode under load for this `time`, and fail unless\nmemory, goroutines and descriptors stay flat")
	fs.BoolVar(&o.RFC2544, "rfc2544", false, "instead of measuring, search for the highest rate at which nothing is lost\n(RFC 2544, section 26.1), -rounds times")
	fs.DurationVar(&o.Trial, "trial", time.Second, "`time` of each trial of -rfc2544; the RFC wants 60s or more")
	fs.Float64Var(&o.Resolution, "resolution", 1, "`percent` within which a search of -rfc2544 finds the rate")
	fs.IntVar(&o.Tries, "tries", 3, "`number` of trials of each rate of -rfc2544; most of them must lose nothing")
	fs.BoolVar(&o.Latency, "latency", false, "time datagrams, from when each is due until it arrives; needs -rate")
	fs.StringVar(&t.sweep, "sweep", "", "measure with each value of a flag, as `flag=value,value`: batch=1,8,32,64,256, or\nworkers, queues, maxlen, size, flows, handler, rate, bypass; the values take turns")
	fs.Float64Var(&o.Rate, "rate", 0, "`packets` a second to offer, over all queues (connections, for churn);\n0 offers as many as possible")
	fs.IntVar(&o.Size, "size", 64, "`bytes` of each packet, from the IP header on")
	fs.IntVar(&o.Batch, "batch", 0, "`packets` that one recvmmsg may bring; 0 means goipq's default for the mode")
	fs.IntVar(&o.Workers, "workers", 0, "`number` of goroutines in the pool; 0 means one for each CPU of the consumer,\nand at least 2")
	fs.IntVar(&o.Queues, "queues", 1, "`number` of queues, each with a receive loop and a flood on a CPU of its own")
	fs.DurationVar(&o.BusyPoll, "busy-poll", 0, "`time` for which a receive loop looks for packets before it sleeps")
	fs.BoolVar(&o.Pin, "pin", false, "pin each receive loop to one CPU of the consumer; floods are always pinned")
	fs.IntVar(&o.MaxQueueLen, "maxlen", 0, fmt.Sprintf("`packets` that the kernel may hold in each queue; 0 means its own default, %d,\nand %d for -rfc2544, so that a stall of a few ms does not decide", ipq.DefaultMaxQueueLen, searchMaxQueueLen))
	fs.BoolVar(&o.Replies, "replies", false, "let the kernel answer the echo requests, at the expense of the consumer's CPU time")
	fs.StringVar(&t.modes, "modes", report.ModeInline+","+report.ModePool, "`list` of what to measure: inline, pool, and unqueued, which is the same path\nwithout a queue")
	fs.StringVar(&o.Listen, "listen", "", "serve the queue's metrics for Prometheus at http://`address`/metrics meanwhile, and measure\nthe handler's time and the verdicts' latency for them, which costs up to 2 %")
	fs.StringVar(&o.JSON, "json", "", "write every figure to this `file`, too")
	fs.StringVar(&o.HTML, "html", "", "write a page with plots to this `file`, too; it needs no other file")
	return fs
}

// parseFlags reads the command line without the program's name. Its errors are
// one sentence.
func parseFlags(args []string) (options, error) {
	var o options
	var t texts
	fs := newFlagSet(&o, &t)
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if t.sweep == "" {
		return parseOnce(args)
	}
	s, err := parseSweep(t.sweep, args, given(fs))
	if err != nil {
		return o, err
	}
	o = s.options[0]
	o.Sweep = s
	return o, nil
}

// given are the flags on the command line.
func given(fs *flag.FlagSet) map[string]bool {
	set := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	return set
}

// parseOnce reads the command line for one point of a sweep.
func parseOnce(args []string) (o options, err error) {
	var t texts
	fs := newFlagSet(&o, &t)
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: everything is set by flags", fs.Arg(0))
	}
	set := given(fs)
	if o.Latency && !set["modes"] {
		t.modes = report.ModeUnqueued + "," + t.modes // to compare with
	}
	o.Modes = strings.Split(t.modes, ",")
	if o.MaxQueueLen == 0 {
		o.MaxQueueLen = ipq.DefaultMaxQueueLen
		if o.RFC2544 {
			o.MaxQueueLen = searchMaxQueueLen
		}
	}
	if o.Handler, err = parseHandling(t.handler); err != nil {
		return o, err
	}
	if o.Bypass, err = parseBypassing(t.bypass); err != nil {
		return o, err
	}
	if o.Bypass.on && !set["modes"] {
		o.Modes = []string{report.ModeUnqueued, report.ModeInline} // to compare with
	}
	if set["patterns"] && o.Handler.kind != report.HandleInspect {
		return o, errors.New("-patterns is for -handler inspect")
	}
	if o.Handler.kind == report.HandleInspect {
		if o.Patterns, err = readPatterns(t.patterns); err != nil {
			return o, err
		}
	}
	if err := o.check(); err != nil {
		return o, err
	}
	if o.Soak > 0 && (set["duration"] || set["rounds"]) {
		return o, errors.New("-soak has no rounds: -duration and -rounds are not for it")
	}
	for _, check := range []func(map[string]bool) error{o.checkMeasures, o.checkScenario, o.checkBypass} {
		if err := check(set); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (o *options) check() error {
	if o.Rounds < 1 || o.Rounds > maxRounds {
		return fmt.Errorf("-rounds %d is not between 1 and %d", o.Rounds, maxRounds)
	}
	for i, mode := range o.Modes {
		if !slices.Contains(modeNames, mode) {
			return fmt.Errorf("-modes: there is no mode %q, only inline, pool and unqueued", mode)
		}
		if slices.Contains(o.Modes[:i], mode) {
			return fmt.Errorf("-modes: %s is named twice", mode)
		}
	}
	if least := minWindow * time.Duration(o.Rounds); o.Duration < least || o.Duration > maxDuration {
		return fmt.Errorf("-duration %v is not between %v and %v", o.Duration, least, maxDuration)
	}
	if !(o.Rate == 0 || o.Rate >= 1 && o.Rate <= 1e9) { // NaN, too
		return fmt.Errorf("-rate %v is neither 0 nor between 1 and 1e9 packets a second", o.Rate)
	}
	if o.Soak != 0 && (o.Soak < minSoak || o.Soak > maxSoak) {
		return fmt.Errorf("-soak %v is not between %v and %v", o.Soak, minSoak, maxSoak)
	}
	if o.Soak > 0 && slices.Contains(o.Modes, report.ModeUnqueued) {
		return errors.New("-soak watches queues: the mode unqueued has none")
	}
	if o.BusyPoll < 0 || o.BusyPoll > time.Second {
		return fmt.Errorf("-busy-poll %v is not between 0 and 1s", o.BusyPoll)
	}
	for _, f := range []struct {
		name            string
		value, min, max int
	}{
		{"size", o.Size, 36, 65535}, // IPv4 and ICMP headers and the flood's number
		{"batch", o.Batch, 0, 1024}, // UIO_MAXIOV
		{"workers", o.Workers, 0, 1024},
		{"flows", o.Flows, 0, 65536}, // the flood's most
		{"queues", o.Queues, 1, 256},
		{"maxlen", o.MaxQueueLen, 1, 65536}, // NFQNL_HASH_MAX_SIZE * 2
	} {
		if f.value < f.min || f.value > f.max {
			return fmt.Errorf("-%s %d is not between %d and %d", f.name, f.value, f.min, f.max)
		}
	}
	return nil
}

func printUsage(w io.Writer) {
	fmt.Fprint(w, `ipq-bench floods netfilter queues in a private network namespace. It shows how many
packets a second this machine decides, and at what cost. It needs Linux, and root or the
right to make a user namespace. It does not touch the machine's own rules and interfaces.

Usage: ipq-bench [flags], or ipq-bench and one of the commands below

`)
	var o options
	var t texts
	fs := newFlagSet(&o, &t)
	fs.SetOutput(w)
	fs.PrintDefaults()
	printSubcommands(w)
	fmt.Fprint(w, `
Examples:
  ipq-bench                       how much can this machine carry?
  ipq-bench -rate 150000          what does a packet cost at a load that it can carry?
  ipq-bench -queues 2 -pin        two queues, each with a receive loop on its own CPU
  ipq-bench -rfc2544              how much can it take without losing one packet?
  ipq-bench -sweep batch=1,8,32,64,256
                                  which batch is best on this machine?
  ipq-bench -scenario udp -latency -rate 50000
                                  how much longer are packets on their way?
  ipq-bench -soak 10m             does it stay flat under overload?
  ipq-bench -soak 10m -listen localhost:9742
                                  the same, watched by Prometheus
  ipq-bench -duration 1s -json f  a quick run, with every figure in a file
  ipq-bench -scenario forward -tcp -modes unqueued,inline
                                  routed TCP: how much does the queue take away?
  ipq-bench -scenario forward -tcp -modes unqueued,inline -bypass 100
                                  the same, with a bypass after ten packets
  ipq-bench -scenario udp -imix -handler inspect
                                  like an IPS: many flows, each payload searched

Exit status: 0 measured; 1 the run failed, its books do not balance, or a soak is not flat;
2 wrong flag, or no private namespace; 3 measured, but the output could not be written;
130 ended by SIGINT and 143 by SIGTERM, with what was measured so far.
`)
}
