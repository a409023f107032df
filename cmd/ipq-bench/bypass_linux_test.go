package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
)

// runBypass runs with these arguments and returns the report.
func runBypass(t *testing.T, args string) *report {
	t.Helper()
	if !netlab.Privileged() {
		t.Skip("an ordinary user may not load eBPF programs")
	}
	file := filepath.Join(t.TempDir(), "report.json")
	cmd := command(append(strings.Fields(args), "-duration", "400ms", "-rounds", "2", "-json", file)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	skipWithoutNamespaces(t, stderr.String())
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v: %s\n%s", err, stderr.String(), stdout.String())
	}
	wantLines(t, stdout.String(), 100)
	return readReport(t, file)
}

// What is asked for is decided by the kernel, of each flow what follows its
// first packets, and both kinds are counted to the packet.
func TestBypass(t *testing.T) {
	const flows = 8
	for _, scenario := range []string{"icmp", "icmp -6", "udp", "udp -6", "forward", "forward -6"} {
		for share, settled := range map[string]uint64{"0": 0, "25": 2, "100%": flows} {
			t.Run(scenario+" "+share, func(t *testing.T) {
				rep := runBypass(t, "-modes inline -flows 8 -rate 4000 -scenario "+scenario+" -bypass "+share)
				if !rep.Books.Balanced || rep.Books.Lost > 0 {
					t.Errorf("books: %+v", rep.Books)
				}
				for _, rd := range rep.Modes[0].Rounds {
					l := &rd.Life
					// The flows take turns. Of those that are settled at least so
					// many packets came to the queue; more if they came before the
					// handler had seen the last of them.
					ofSettled := l.Sent * settled / flows
					if l.Bypassed+inspected*settled > ofSettled+settled || settled > 0 && l.Bypassed < ofSettled/4 {
						t.Errorf("of %d packets, %d of settled flows, %d were bypassed", l.Sent, ofSettled, l.Bypassed)
					}
					if l.Received+l.Bypassed != l.Sent || l.Arrived != l.Sent {
						t.Errorf("sent %d, received %d, bypassed %d, arrived %d", l.Sent, l.Received, l.Bypassed, l.Arrived)
					}
				}
			})
		}
	}
}

// Connections are settled in both directions, and compared with those that are
// not queued.
func TestBypassOfConnections(t *testing.T) {
	rep := runBypass(t, "-scenario forward -tcp -flows 4 -bypass 100")
	if len(rep.Modes) != 2 || rep.Modes[0].Name != modeUnqueued {
		t.Fatalf("%d modes, first %s", len(rep.Modes), rep.Modes[0].Name)
	}
	for _, rd := range rep.Modes[1].Rounds {
		l := &rd.Life
		if l.Received < 4*inspected || l.Bypassed < l.Received || rd.Bytes == 0 || rd.OfUnqueued <= 0 {
			t.Errorf("%+v", l)
		}
	}
	if !rep.Books.Balanced || *rep.Parameters.Bypass != 100 {
		t.Errorf("books: %+v", rep.Books)
	}
}
