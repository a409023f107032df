package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipq/goipq/examples/internal/extest"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { extest.Main(m, main) }

// What the manual page's own rules queue, the program accepts: pings get
// through with it and only with it.
func TestManualPage(t *testing.T) {
	ns := labtest.New(t)
	installQueue(t, ns, []string{"iptables-legacy", "iptables"}, "icmp")
	installQueue(t, ns, []string{"ip6tables-legacy", "ip6tables"}, "icmpv6")
	pings := [][]string{{"127.0.0.1"}, {"-6", "::1"}}

	nothingPasses := func(when string) {
		for _, target := range pings {
			out, err := ping(t, ns, append([]string{"-c", "1", "-W", "1"}, target...)...)
			if err == nil || !strings.Contains(out, " 100% packet loss") {
				t.Errorf("%s the program, ping %v: %v, want everything lost\n%s", when, target, err, out)
			}
		}
	}
	nothingPasses("before")

	p := extest.Start(t, ns, "-v")
	p.WaitFor(t, "reading queue 0")
	const requests = 3
	for _, target := range pings {
		for range requests { // one by one: for the answer to the last of many ping may not wait
			out, err := ping(t, ns, append([]string{"-c", "1", "-W", "60"}, target...)...)
			if err != nil || !strings.Contains(out, " 0% packet loss") {
				t.Errorf("with the program, ping %v: %v, want nothing lost\n%s", target, err, out)
			}
		}
	}
	output := p.Interrupt(t)
	// Three requests and, because the rules do not tell them apart, three
	// replies.
	const each = 2 * requests
	for _, flow := range []string{"at output: icmp 127.0.0.1:", "at output: icmpv6 [::1]:"} {
		if n := strings.Count(output, flow); n != each {
			t.Errorf("%d lines with %q, want %d", n, flow, each)
		}
	}
	if want := fmt.Sprintf("accept: %d packets accepted\n", len(pings)*each); !strings.HasSuffix(output, want) {
		t.Errorf("output does not end on %q", want)
	}
	if t.Failed() {
		t.Logf("output:\n%s", output)
	}

	nothingPasses("after")
}

// SIGTERM ends the program in order: what is queued already is accepted.
func TestTerminate(t *testing.T) {
	ns := labtest.New(t)
	if _, err := ns.InstallQueue(netlab.Rule{Hook: netlab.Output, Match: netlab.Match{L4Proto: unix.IPPROTO_UDP}}); err != nil {
		t.Fatal(err)
	}
	p := extest.Start(t, ns)
	p.WaitFor(t, "reading queue 0")
	const packets = 100
	extest.CheckArrivals(t, ns, packets, func(send func()) {
		output := p.Terminate(t, send)
		if want := fmt.Sprintf("accept: %d packets accepted\n", packets); !strings.HasSuffix(output, want) {
			t.Errorf("output %q", output)
		}
	})
}

// installQueue runs "iptables -A OUTPUT -p PROTOCOL -j QUEUE" inside ns, with
// the first of the tools that can.
func installQueue(t *testing.T, ns *netlab.NS, tools []string, protocol string) {
	t.Helper()
	// Not the machine's lock, which an ordinary user could not open.
	t.Setenv("XTABLES_LOCKFILE", filepath.Join(t.TempDir(), "lock"))
	var failures []string
	for _, tool := range tools {
		out, err := inside(ns, tool, "-A", "OUTPUT", "-p", protocol, "-j", "QUEUE")
		if err == nil {
			return
		}
		failures = append(failures, fmt.Sprintf("%s: %v: %s", tool, err, strings.TrimSpace(out)))
	}
	lacking(t, "no tool can install -j QUEUE here:\n"+strings.Join(failures, "\n"))
}

func ping(t *testing.T, ns *netlab.NS, args ...string) (output string, err error) {
	t.Helper()
	if _, err := find("ping"); err != nil {
		lacking(t, err.Error())
	}
	return inside(ns, "ping", args...)
}

// inside runs a program inside ns and returns what it wrote.
func inside(ns *netlab.NS, name string, args ...string) (output string, err error) {
	path, err := find(name)
	if err != nil {
		return "", err
	}
	var out []byte
	err = ns.Do(func() (err error) {
		out, err = exec.Command(path, args...).CombinedOutput()
		return err
	})
	return string(out), err
}

// find looks for a program also where an ordinary user's PATH does not lead.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// lacking skips the test for want of something on this machine; where the
// environment variable CI is set, it fails.
func lacking(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
