package goipq_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	_ "github.com/goipq/goipq/internal/soak"
)

// TestMain has this work as it reads, in this folder:
//
//	go test -run Soak -soak 60s ./...
//
// go test does not know that -soak has a value, and so takes no packages after
// it: it runs this folder's test binary alone, and hands it the rest.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.NArg() == 0 {
		os.Exit(m.Run())
	}
	args := append([]string{"test"}, flag.Args()...)
	flag.Visit(func(f *flag.Flag) {
		switch name := strings.TrimPrefix(f.Name, "test."); name {
		case "paniconexit0", "testlogfile": // go test's own
		default:
			args = append(args, fmt.Sprintf("-%s=%s", name, f.Value))
		}
	})
	run := exec.Command("go", args...)
	run.Stdout, run.Stderr = os.Stdout, os.Stderr
	switch err := run.Run(); {
	case errors.As(err, new(*exec.ExitError)):
		os.Exit(run.ProcessState.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
