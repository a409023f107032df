package main

import (
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/output"
	"github.com/goipq/goipq/internal/peers"
)

// runMain marks a process of this test binary that is to be the command.
const runMain = "PEERS_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main() // does not return
	}
	flood.Main()
	runGoContestant()
	labtest.Main(m)
}

// What the command prints to a full disk is lost, and its exit status says so.
func TestOutputIsLost(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := exec.Command("/proc/self/exe", "-h")
	cmd.Env = append(os.Environ(), runMain+"=1")
	cmd.Stdout = full
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != output.ExitStatus {
		t.Errorf("%v, want exit status %d", err, output.ExitStatus)
	}
}

// Every contestant carries every load that it takes part in, and what it says
// of a flood agrees with what the kernel and the flood say.
func TestContests(t *testing.T) {
	labtest.Need(t)
	cpus, err := flood.AllowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	if len(cpus) < 2 {
		t.Skip("one CPU: a contestant and the flood want one each")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, cSources); err != nil {
		t.Fatal(err)
	}
	l := &lab{ctx: t.Context(), dir: dir, cpus: cpus, progress: io.Discard, options: peers.Options{
		Rounds: 1, Duration: 400 * time.Millisecond, WarmUp: 100 * time.Millisecond,
		Rate: 10_000, MaxQueueLen: 1024, Size: 64, Streams: 2, Share: "no",
	}}
	for _, mode := range peers.Modes {
		t.Run(mode, func(t *testing.T) {
			all := contestants(mode)
			for _, c := range all {
				if m := c.missing(); m != nil && os.Getenv("CI") != "" {
					t.Fatalf("CI must test this: %s needs %s: %s", c.name, m.What, m.Get)
				} else if m != nil {
					t.Logf("without %s, which needs %s", c.name, m.What)
					all = without(all, c.name)
				}
			}
			c := l.contest(mode)
			if err := c.run(l, all); err != nil {
				t.Fatal(err)
			}
			checkContest(t, &c.report, all)
		})
	}
}

func checkContest(t *testing.T, r *peers.Contest, all []contestant) {
	var table strings.Builder
	printContest(&table, r)
	for i, one := range r.Contestants {
		if one.Name != all[i].name || len(one.Rounds) != 1 || one.Value == nil || one.Value.Median <= 0 {
			t.Errorf("of %s there is %+v", all[i].name, one)
			continue
		}
		got := one.Rounds[0]
		// What go-nfqueue cannot write in time stays without a verdict.
		if !strings.Contains(one.Name, "go-nfqueue") && (got.Disagreement != "" || got.Said != "") {
			t.Errorf("%s: %s%s", one.Name, got.Disagreement, got.Said)
		}
		if all[i].command != nil && (got.Packets == 0 || got.CPU == 0) {
			t.Errorf("%s has no packets or took no time: %+v", one.Name, got)
		}
		if !strings.Contains(table.String(), "\n"+one.Name+" ") {
			t.Errorf("%s is not in the table:\n%s", one.Name, &table)
		}
	}
	for _, base := range r.Bases {
		if r.Contestants[0].Ratios[base].Median == 0 {
			t.Errorf("%s is a base without ratios", base)
		}
	}
}

// Only what is installed takes part, unless it was asked for.
func TestChoose(t *testing.T) {
	lacking := func(names ...string) func() {
		before := ofQueues
		ofQueues = slices.Clone(ofQueues)
		for i := range ofQueues {
			if slices.Contains(names, ofQueues[i].name) {
				ofQueues[i].needs = []need{{"a thing", "fetch it", func() error { return io.EOF }}}
			}
		}
		return func() { ofQueues = before }
	}
	defer lacking("c-batch")()
	o := peers.Options{Modes: peers.List{peers.Saturated, peers.Paced}}
	chosen, missing, err := choose(&o)
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) == 0 || missing[0] != (peers.Missing{Contestant: "c-batch", What: "a thing", Get: "fetch it"}) {
		t.Errorf("missing are %v", missing)
	}
	for mode, all := range chosen {
		for _, c := range all {
			if c.name == "c-batch" {
				t.Errorf("c-batch takes part in %s without what it needs", mode)
			}
		}
	}
	for only, want := range map[string]string{
		"c-batch":                        "fetch it",
		"c-sendmmsg":                     "takes part in -mode saturated",
		"nobody,goipq-inline,goipq-pool": `no "nobody"`,
	} {
		o.Only = strings.Split(only, ",")
		if _, _, err := choose(&o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("-only %s: the error is %v, want one with %q", only, err, want)
		}
	}
}
