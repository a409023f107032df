package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/peers"
)

const peersUsage = "peers [flags]"

// A rivalry tells how to find and run the program that compares goipq with its
// rivals. The program is a module of its own, so that ipq-bench depends on no rival.
type rivalry struct {
	options peers.Options
	source  string // directory of bench/peers; "": around the working directory
	program string // built from it; "": to be built
}

// runPeers is the subcommand. Its exit status is that of the program, or 2 when
// there is none to run.
func runPeers(args []string, stdout, stderr io.Writer) int {
	var r rivalry
	fs := r.flags()
	err := r.options.Parse(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		r.help(stdout)
		return exitOK
	}
	if err == nil && runtime.GOOS != "linux" {
		err = fmt.Errorf("netfilter queues exist on Linux only; this is %s", runtime.GOOS)
	}
	if err == nil && r.source != "" && r.program != "" {
		err = errors.New("-source is what -program is built from: give one of them")
	}
	if err != nil {
		return misuse(stderr, "peers: %v (ipq-bench peers -h lists the flags)", err)
	}
	program := r.program
	if program == "" {
		dir, err := os.MkdirTemp("", "ipq-bench-peers")
		if err != nil {
			return misuse(stderr, "peers: %v", err)
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "peers")
		if err := r.build(program, stderr); err != nil {
			return misuse(stderr, "peers: %v", err)
		}
	}
	return runProgram(program, forwarded(fs), stdout, stderr)
}

// flags are those of bench/peers, and our own.
func (r *rivalry) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("peers", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	r.options.Flags(fs)
	fs.StringVar(&r.source, "source", "", "`directory` of bench/peers, to build; without it, that of the sources around the\nworking directory")
	fs.StringVar(&r.program, "program", "", "`file` that was built there, to run without Go")
	return fs
}

// forwarded are the flags that were set and are not our own.
func forwarded(fs *flag.FlagSet) (args []string) {
	fs.Visit(func(f *flag.Flag) {
		if f.Name != "source" && f.Name != "program" {
			args = append(args, fmt.Sprintf("-%s=%v", f.Name, f.Value))
		}
	})
	return args
}

// build makes the program with the go tool.
func (r *rivalry) build(program string, stderr io.Writer) error {
	source := r.source
	if source == "" {
		here, err := os.Getwd()
		if err != nil {
			return err
		}
		source = findPeers(here)
	}
	if !isPeers(source) {
		where := "around the working directory"
		if r.source != "" {
			where = "in " + r.source
		}
		return fmt.Errorf("there are no sources of bench/peers %s: clone https://%s and run ipq-bench there, or name their directory with -source, or a program that was built from them with -program", where, ourModule)
	}
	if _, err := exec.LookPath("go"); err != nil {
		return fmt.Errorf("the rivals are built with the go tool, which is not installed (https://go.dev/dl): install it, or build elsewhere (CGO_ENABLED=0 go build, in %s) and name the program with -program", source)
	}
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Dir = source
	cmd.Stdout, cmd.Stderr = stderr, stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build in %s: %w: without access to a module proxy, build it where there is one, and name the program with -program", source, err)
	}
	return nil
}

const ourModule = "github.com/goipq/goipq"

var peersModule = regexp.MustCompile(`(?m)^module ` + regexp.QuoteMeta(ourModule) + `/bench/peers$`)

// findPeers returns the directory of bench/peers in the sources around a
// directory, or "".
func findPeers(here string) string {
	for {
		for _, dir := range []string{here, filepath.Join(here, "bench", "peers")} {
			if isPeers(dir) {
				return dir
			}
		}
		up := filepath.Dir(here)
		if up == here {
			return ""
		}
		here = up
	}
}

func isPeers(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return dir != "" && err == nil && peersModule.Match(text)
}

// runProgram runs the program and returns its exit status. It passes signals on and
// waits, since the program still has something to print.
func runProgram(program string, args []string, stdout, stderr io.Writer) int {
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if f := plain.FileOf(stdout); f != nil { // not through a pipe: the program tells what it could not write
		cmd.Stdout = f
	}
	signals := catchSignals()
	if err := cmd.Start(); err != nil {
		return misuse(stderr, "peers: %v", err)
	}
	go func() {
		for sig := range signals {
			cmd.Process.Signal(sig)
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	}
	fmt.Fprintf(stderr, "ipq-bench: peers: %v\n", err)
	return exitFailed
}

func (r *rivalry) help(w io.Writer) {
	fmt.Fprintf(w, `ipq-bench peers compares goipq with other programs that decide queued packets:
libnetfilter_queue, go-nfqueue and bare loops in C. They take turns under the same load,
in private network namespaces. What is not installed is named, with how to get it. The
programs are a module of their own, %s, which the go tool builds.

Usage: ipq-bench %s

`, strings.TrimPrefix(ourModule, "github.com/goipq/")+"/bench/peers", peersUsage)
	fs := r.flags()
	fs.SetOutput(w)
	fs.PrintDefaults()
	fmt.Fprint(w, `
Examples:
  ipq-bench peers                              overload: who decides how many packets?
  ipq-bench peers -mode all -json peers.json   everything, for ipq-bench html
  ipq-bench peers -mode tcp -only unqueued,goipq-inline,go-nfqueue-defaults

Exit status: 0 measured; 1 a program failed; 2 wrong flag, no program, or no private
namespace; 3 measured, but the output could not be written.
`)
}
