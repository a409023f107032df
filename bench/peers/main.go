//go:build linux

// Command peers runs programs that decide the packets of netfilter queues under
// the same load, one after the other, round by round, and compares them.
//
//	go run . -mode all -json peers.json
//	go run . -mode saturated -rounds 7
//	go run . -mode paced -rate 150000 -only goipq-inline,go-nfqueue
//	go run . -mode saturated,paced -only client-go-nfqueue,client-goipq
//
// It works in private network namespaces: root and ordinary users can run it,
// and the machine's own firewall and links are left alone. What needs a C
// compiler or libnetfilter_queue is left out where these are not installed, and
// the output says how to get them.
//
// # Contests
//
// saturated shows how many packets a second a contestant decides when there are
// always more. Floods and contestant have CPUs of their own. On two CPUs one
// flood cannot send as fast as the best decide, so a busy program shares the
// contestant's CPU (-share), which is the same for all. One that decides nearly
// all of the flood even so is said to have outrun it: its rate is the flood's.
//
// paced shows what one packet costs in CPU time, user and system, when all have
// the same to do: -rate packets a second.
//
// tcp shows how much TCP a router carries when each packet is decided in user
// space, next to the same path without a queue. The contestant has the last CPU,
// client and server the others. The kernel sends a packet on within the call that
// writes its verdict, so that CPU does some of what they would have done, and
// there may come more through than without a queue. In tcp-shared all have all
// CPUs: what queueing costs, the transfer lacks.
//
// generator and generator-udp show what one CPU can send with nothing queued,
// through the flood of this program and through the least that does it in C.
//
// Rates are from the kernel's own counters, read from outside: of the queue, or
// of a rule that counts what generators send. At the end of a round what a
// contestant says is held against those of the kernel and of the flood, and where
// they disagree, the report says so.
//
// # Exit status
//
// 0 when all was measured, 1 when a contestant or the kernel failed, 2 for a
// wrong flag, or when there can be no private namespace or no second CPU; then
// nothing was run. 3 when all was measured, but the output could not be written.
// 130 and 143 after SIGINT and SIGTERM.
//
// It is a module of its own so that goipq depends on none of its peers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/output"
	"github.com/goipq/goipq/internal/peers"
	"golang.org/x/sys/unix"
)

func main() {
	flood.Main()
	runGoContestant()
	var o peers.Options
	fs := flag.NewFlagSet("peers", flag.ContinueOnError)
	fs.Usage = func() {}
	stdout := output.To(os.Stdout)
	fs.SetOutput(stdout)
	o.Flags(fs)
	err := o.Parse(fs, os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		fs.PrintDefaults()
		err = nil
	} else if err == nil {
		err = run(o, stdout)
	}
	status := 0
	if err != nil {
		tell(err)
		status = statusOf(err)
	}
	os.Exit(stdout.End(status, tell))
}

func tell(err error) { fmt.Fprintln(os.Stderr, "peers:", err) }

func statusOf(err error) int {
	var s interface{ status() int }
	if errors.As(err, &s) {
		return s.status()
	}
	return 1
}

// refused is an error before anything was run.
type refused struct{ error }

func (refused) status() int { return 2 }

// told is the end by a signal.
type told struct{ unix.Signal }

func (t told) Error() string { return t.Signal.String() }
func (t told) status() int   { return 128 + int(t.Signal) }

func run(o peers.Options, stdout io.Writer) error {
	cpus, err := flood.AllowedCPUs()
	if err != nil {
		return err
	}
	if len(cpus) < 2 {
		return refused{errors.New("needs two CPUs: one for the load, one for the contestant")}
	}
	if err := netlab.Enter(); err != nil {
		return refused{err}
	}
	chosen, missing, err := choose(&o)
	if err != nil {
		return refused{err}
	}
	if err := touch(o.JSON); err != nil {
		return refused{err}
	}
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, cSources); err != nil {
		return err
	}
	report := &peers.Report{
		Kind: peers.Kind, Schema: peers.Schema, Time: time.Now().UTC().Truncate(time.Second),
		Machine: machine(len(cpus)), Versions: versions(), Options: o, Missing: missing,
	}
	ctx, cancel := untilSignal()
	defer cancel()
	l := &lab{ctx: ctx, options: o, dir: dir, cpus: cpus, progress: os.Stderr}
	printHeader(stdout, report)
	err = l.contests(report, chosen, stdout)
	report.Interrupted = ctx.Err() != nil
	if report.Interrupted {
		err = context.Cause(ctx) // and not what it has caused
	}
	if o.JSON != "" {
		err = errors.Join(err, report.Write(o.JSON))
	}
	return err
}

// contests runs all of them, one after the other.
func (l *lab) contests(report *peers.Report, chosen map[string][]contestant, stdout io.Writer) error {
	for _, mode := range l.options.Modes {
		c := l.contest(mode)
		err := c.run(l, chosen[mode])
		report.Contests = append(report.Contests, c.report)
		printContest(stdout, &c.report)
		if err != nil {
			return err
		}
	}
	return nil
}

// choose finds out who takes part in each mode. One that was asked for by name
// must be able to.
func choose(o *peers.Options) (chosen map[string][]contestant, missing []peers.Missing, err error) {
	chosen = make(map[string][]contestant)
	known := make(map[string]bool)
	for _, mode := range o.Modes {
		for _, c := range contestants(mode) {
			first := !known[c.name]
			known[c.name] = true
			if named := slices.Contains(o.Only, c.name); !named && (c.asked || len(o.Only) > 0) {
				continue
			}
			if m := c.missing(); m == nil {
				chosen[mode] = append(chosen[mode], c)
			} else if len(o.Only) > 0 {
				return nil, nil, fmt.Errorf("-only: %s needs %s: %s", c.name, m.What, m.Get)
			} else if first {
				missing = append(missing, *m)
			}
		}
		if len(chosen[mode]) == 0 {
			return nil, nil, fmt.Errorf("-only: none of %s takes part in -mode %s", strings.Join(o.Only, ", "), mode)
		}
	}
	for _, name := range o.Only {
		if !known[name] {
			return nil, nil, fmt.Errorf("-only: there is no %q in -mode %s", name, strings.Join(o.Modes, ","))
		}
	}
	return chosen, missing, nil
}

// touch finds out whether a file can be written before all is measured for it.
func touch(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("-json: %w", err)
	}
	return f.Close()
}

// impatience is how long after the first signal another one ends the program at
// once. The first can come several times: to the process group, and from those
// who have started us.
const impatience = 500 * time.Millisecond

// untilSignal returns a context that ends with SIGINT or SIGTERM, with a told
// as its cause.
func untilSignal() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	go func() {
		if sig, ok := (<-signals).(unix.Signal); ok {
			cancel(told{sig})
			time.Sleep(impatience)
			signal.Stop(signals)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}
