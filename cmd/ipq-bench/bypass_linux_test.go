package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/netlab"
)

// runBypass measures until there is enough to judge.
func runBypass(t *testing.T, enough func(*report.Report) bool, args string) *report.Report {
	t.Helper()
	if !netlab.Privileged() {
		t.Skip("an ordinary user may not load eBPF programs")
	}
	rep, _ := measureUntil(t, enough, args+" -rounds 2")
	return rep
}

// steady is a load that a busy machine bears, and a queue that none of it fills.
const steady = " -modes inline -flows 8 -rate 4000 -maxlen 65536"

// What is asked for is decided by the kernel, of each flow what follows its
// first packets, and both kinds are counted to the packet.
func TestBypass(t *testing.T) {
	const flows = 8
	for args, settled := range map[string]uint64{
		"-scenario icmp -bypass 0":         0,
		"-scenario icmp -6 -bypass 100":    flows,
		"-scenario udp -bypass 25":         2,
		"-scenario udp -6 -bypass 100%":    flows,
		"-scenario forward -bypass 50":     4,
		"-scenario forward -6 -bypass 100": flows,
	} {
		t.Run(args, func(t *testing.T) {
			rep := runBypass(t, func(rep *report.Report) bool {
				return rep.Books.Verdicts > 0 && (rep.Books.Bypassed > 0 || settled == 0)
			}, args+steady)
			if rep.Books.Lost > 0 || (rep.Books.Bypassed > 0) != (settled > 0) {
				t.Errorf("books: %+v", rep.Books)
			}
			for _, rd := range rep.Modes[0].Rounds {
				l := &rd.Life
				// The flows take turns, and at least so many packets of those
				// that are settled came to the queue: more, if they came before
				// the handler had seen the last of them.
				if most := l.Sent*settled/flows + settled; l.Bypassed > 0 && l.Bypassed+report.Inspected*settled > most {
					t.Errorf("of %d packets, %d of settled flows, %d were bypassed", l.Sent, most, l.Bypassed)
				}
				if l.Received+l.Bypassed != l.Sent || l.Arrived != l.Sent {
					t.Errorf("sent %d, received %d, bypassed %d, arrived %d", l.Sent, l.Received, l.Bypassed, l.Arrived)
				}
			}
		})
	}
}

// Connections are settled in both directions, and compared with those that are
// not queued.
func TestBypassOfConnections(t *testing.T) {
	bypassed := func(rep *report.Report) bool { return rep.Books.Bypassed > 0 }
	rep := runBypass(t, bypassed, "-scenario forward -tcp -flows 4 -bypass 100")
	if len(rep.Modes) != 2 || rep.Modes[0].Name != report.ModeUnqueued {
		t.Fatalf("%d modes, first %s", len(rep.Modes), rep.Modes[0].Name)
	}
	// What comes within a window depends on the machine; what was queued and what was
	// bypassed until the end of a round does not.
	unqueued := make(map[int]uint64)
	for _, rd := range rep.Modes[0].Rounds {
		unqueued[rd.Round] = rd.Bytes
	}
	for _, rd := range rep.Modes[1].Rounds {
		l := &rd.Life
		const most = 1 << 16 // of a super-packet
		if l.Bypassed > 0 && l.Received < report.Inspected || l.Bypassed == 0 && l.BytesIn > most*l.Received {
			t.Errorf("%+v", l)
		}
		if compared := rd.Bytes > 0 && unqueued[rd.Round] > 0; compared != (rd.OfUnqueued > 0) {
			t.Errorf("%d bytes, and %d unqueued, are compared as %v", rd.Bytes, unqueued[rd.Round], rd.OfUnqueued)
		}
	}
	if rep.Books.Bypassed == 0 || *rep.Parameters.Bypass != 100 {
		t.Errorf("books: %+v", rep.Books)
	}
}

// The share can be swept: each round begins with no flow settled.
func TestBypassIsSwept(t *testing.T) {
	bypassed := func(pt report.Point) (n uint64) {
		for _, rd := range pt.Modes[0].Rounds {
			n += rd.Life.Bypassed
		}
		return n
	}
	rep := runBypass(t, func(rep *report.Report) bool {
		return !slices.ContainsFunc(rep.Sweep.Points, func(pt report.Point) bool { return pt.Number > 0 && bypassed(pt) == 0 })
	}, "-sweep bypass=100,0,50"+steady)
	if len(rep.Sweep.Points) != 3 {
		t.Fatalf("%+v", rep.Sweep)
	}
	for _, pt := range rep.Sweep.Points {
		for _, rd := range pt.Modes[0].Rounds {
			if share := 100 * report.Ratio(rd.Life.Bypassed, rd.Life.Sent); share > pt.Number {
				t.Errorf("-bypass %s: %v %% were bypassed", pt.Value, share)
			}
		}
		if *pt.Parameters.Bypass != pt.Number || (bypassed(pt) > 0) != (pt.Number > 0) {
			t.Errorf("-bypass %s: %v %%, %d packets were bypassed", pt.Value, *pt.Parameters.Bypass, bypassed(pt))
		}
	}
}

// Who may not load programs is told so in one line, and nothing is run.
func TestBypassNeedsRights(t *testing.T) {
	cmd := command("-bypass", "50", "-duration", "100ms")
	if netlab.Privileged() {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	skipWithoutNamespaces(t, stderr.String())
	text := stderr.String()
	if cmd.ProcessState.ExitCode() != exitUsage || stdout.Len() > 0 || !strings.Contains(text, "-bypass needs eBPF") || strings.Count(text, "\n") != 1 {
		t.Errorf("%v: %s\n%s", err, text, &stdout)
	}
}
