package main

import (
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
)

// A command that is asked for help gives it, and does nothing else. (peers
// has flags of its own to tell of, and a test.)
func TestHelpOfCommands(t *testing.T) {
	var usage strings.Builder
	printUsage(&usage)
	for _, c := range subcommands() {
		if !strings.Contains(usage.String(), "ipq-bench "+c.usage+"\n") {
			t.Errorf("%s is not in the usage", c.name)
		}
		if found, ok := findSubcommand([]string{c.name, "x"}); !ok || found.name != c.name {
			t.Errorf("%s is not found", c.name)
		}
		if c.name == "peers" {
			continue
		}
		var stdout, stderr strings.Builder
		status := c.run([]string{"-h"}, &stdout, &stderr)
		if status != exitOK || !strings.Contains(stdout.String(), "Usage: ipq-bench "+c.usage) || stderr.Len() > 0 {
			t.Errorf("%s -h: exit status %d, %q, %q", c.name, status, stdout.String(), stderr.String())
		}
		benchtest.WantLines(t, stdout.String(), 100)
	}
	benchtest.WantLines(t, usage.String(), 100)
	if _, ok := findSubcommand([]string{"-rate", "doctor"}); ok {
		t.Error("the value of a flag is taken for a command")
	}
}
