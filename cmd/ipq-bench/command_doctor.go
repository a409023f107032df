package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"github.com/goipq/goipq/internal/bench/doctor"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/netlab"
)

// seeDoctor probes what goipq finds here, in private namespaces, and prints it.
// With the argument namespace, it tells only whether it may have one.
func seeDoctor(args []string, stdout, stderr io.Writer) int {
	if asksForHelp(args, stdout, "doctor", "With namespace, it says only whether this user may have private namespaces.\n") {
		return exitOK
	}
	namespace := slices.Equal(args, []string{"namespace"})
	if len(args) > 0 && !namespace {
		return misuse(stderr, "doctor %s: the only argument it takes is namespace", args[0])
	}
	if runtime.GOOS != "linux" {
		return misuse(stderr, "netfilter queues exist on Linux only; this is %s", runtime.GOOS)
	}
	// Once the program is in a namespace of its own, nothing tells of the one before.
	if !namespace && !netlab.Inside() {
		survey, err := doctor.Survey()
		if err != nil {
			return misuse(stderr, "%v", err)
		}
		os.Setenv(envSurvey, survey)
	}
	if err := netlab.Enter(); err != nil {
		return misuse(stderr, "%v", err)
	}
	if namespace {
		fmt.Fprintln(stdout, "This user may make private namespaces.")
		return exitOK
	}
	findings, err := doctor.Examine(kernelRelease(), os.Getenv(envSurvey), tryRoute)
	if err != nil {
		return misuse(stderr, "%v", err)
	}
	if !doctor.Print(stdout, findings) {
		return exitUsage
	}
	return exitOK
}

// envSurvey has what was found where the program was started.
const envSurvey = "IPQ_BENCH_SURVEY"

// tryRoute makes the network of -scenario forward.
func tryRoute() error {
	s, err := forwardUDP{}.build(&options{Scenario: report.ScenarioForward, Size: 64})
	if err != nil {
		return err
	}
	return s.close()
}
