package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	"github.com/goipq/goipq/internal/bench/render"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/output"
)

// Exit statuses; a signal's is 128 plus its number. Where the output could not be
// written, output.ExitStatus takes the place of 0.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	flood.Main() // does not return in a flood, which is this program again
	stdout := output.To(os.Stdout)
	status := run(os.Args[1:], stdout, os.Stderr)
	os.Exit(stdout.End(status, func(err error) { complain(os.Stderr, status, err) }))
}

// run does what the arguments say and returns the exit status. Its caller finds out
// whether what it printed could be written.
func run(args []string, stdout, stderr io.Writer) int {
	if c, ok := findSubcommand(args); ok {
		return c.run(args[1:], stdout, stderr)
	}
	signals := catchSignals()

	opts, err := parseFlags(args)
	if errors.Is(err, flag.ErrHelp) {
		printUsage(stdout)
		return exitOK
	}
	if err != nil {
		return complain(stderr, exitUsage, fmt.Errorf("%w (ipq-bench -h lists the flags)", err))
	}
	if runtime.GOOS != "linux" {
		return complain(stderr, exitUsage, fmt.Errorf("netfilter queues exist on Linux only; this is %s", runtime.GOOS))
	}
	var ln net.Listener
	if opts.Listen != "" {
		if ln, err = listen(opts.Listen); err != nil {
			return complain(stderr, exitUsage, err)
		}
		defer ln.Close()
	}
	if err := netlab.Enter(); err != nil {
		return complain(stderr, exitUsage, err)
	}
	return bench(untilSignal(context.Background(), signals), opts, ln, stdout, stderr)
}

// complain says why a command fails, and returns its exit status.
func complain(stderr io.Writer, status int, err error) int {
	fmt.Fprintln(stderr, "ipq-bench:", err)
	return status
}

// bench does the whole run and returns the exit status. Metrics are served on ln unless
// it is nil.
func bench(ctx context.Context, opts options, ln net.Listener, stdout, stderr io.Writer) int {
	for flag, name := range map[string]string{"-json": opts.JSON, "-html": opts.HTML} {
		if name == "" {
			continue
		}
		if err := checkWritable(flag, name); err != nil {
			return complain(stderr, exitUsage, err)
		}
	}
	r, err := newRunner(opts, newProgress(stdout))
	if err != nil {
		return complain(stderr, exitUsage, err)
	}
	defer r.close()
	render.Header(stdout, r.report)
	if ln != nil {
		r.exporter = export(ln)
		defer r.exporter.close()
		fmt.Fprintf(stdout, "metrics   http://%s/metrics\n\n", ln.Addr())
	}

	run := r.run
	switch r.report.Kind {
	case report.KindSoak:
		run = r.soak
	case report.KindThroughput:
		run = r.searchAll
	}
	runErr := run(ctx)
	r.report.Finish(ctx.Err() != nil)
	render.Results(stdout, r.report)
	if opts.JSON != "" {
		runErr = errors.Join(runErr, writeJSON(opts.JSON, r.report))
	}
	if opts.HTML != "" {
		runErr = errors.Join(runErr, writeHTML(opts.HTML, r.report))
	}
	if runErr != nil {
		return complain(stderr, exitFailed, runErr)
	}
	return exitStatus(r.report, context.Cause(ctx))
}

// exitStatus is that of a run. cause is why it ended early, nil if it is complete.
func exitStatus(rep *report.Report, cause error) int {
	var sig caught
	switch {
	case !rep.Books.Balanced, slices.ContainsFunc(rep.Soaks, func(k report.Soak) bool { return len(k.Problems) > 0 }):
		return exitFailed
	case errors.As(cause, &sig):
		return sig.status()
	}
	return exitOK
}

// A caught signal is the cause of an early end.
type caught struct{ syscall.Signal }

func (c caught) Error() string { return c.Signal.String() }

func (c caught) status() int { return 128 + int(c.Signal) }

// catchSignals collects the signals that end a run, even if they were ignored
// before: a shell script has SIGINT ignored in what it starts in the background, and
// a run that is told to end must not go on flooding.
func catchSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	return signals
}

// untilSignal returns a context that the first signal ends, with a caught as its cause.
// The third ends the program. The second may be the first once more: one signal comes
// to this process as a member of its group, and passed on by the process that
// netlab.Enter left in front, which may be much later on a busy machine.
func untilSignal(parent context.Context, signals <-chan os.Signal) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		sig := caught{(<-signals).(syscall.Signal)}
		cancel(sig)
		<-signals
		<-signals
		os.Exit(sig.status())
	}()
	return ctx
}
