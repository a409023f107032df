//go:build linux && cgo

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// Programs in C do over the library what libipq(3) says, also as ASan watches them.
func TestPrograms(t *testing.T) {
	l := build(t)
	for name, flags := range map[string][]string{
		"plain": {"-O2"},
		"ASan":  {"-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"},
	} {
		t.Run(name, func(t *testing.T) {
			for name, test := range map[string]func(*testing.T, string){
				"pass": passes, "second": dropsEverySecond, "rewrite": rewrites, "fields": tellsFields,
				"two": hasTwoHandles, "leave": leavesOne, "poller": polls, "demon": becomesDaemon, "late": forksLate,
				"wrong": callsWrongly, "threads": closesMeanwhile,
			} {
				t.Run(name, func(t *testing.T) { test(t, l.compile(t, name, flags...)) })
			}
		})
	}
	t.Run("command", func(t *testing.T) { queuesByCommand(t, l.compile(t, "pass")) })
	t.Run("documents", func(t *testing.T) { documents(t, l) })
	t.Run("refused", func(t *testing.T) { refused(t, l.compile(t, "pass")) })
	t.Run("numbers", func(t *testing.T) { numbers(t, l.compile(t, "pass")) })
}

// What is queued for IPv4, and for IPv6, is accepted, and the rest is dropped, as the
// kernel dropped what had no listener.
func passes(t *testing.T, program string) {
	for version, argument := range map[int]string{4: "4", 6: "6"} {
		p := newPath(t, netlab.Output)
		c := start(t, p.ns, program, "3", argument)
		p.send(10-version, "not for this handle")
		p.send(version, "one", "two", "three")
		p.arrives(version, "one", "two", "three")
		c.end()
		// What was dropped would have arrived before this.
		other := start(t, p.ns, program, "1", map[int]string{4: "6", 6: "4"}[version])
		p.send(10-version, "at last")
		p.arrives(10-version, "at last")
		other.end()
	}
}

func dropsEverySecond(t *testing.T, program string) {
	p := newPath(t, netlab.Output)
	c := start(t, p.ns, program, "6")
	p.send(4, "one", "two", "three", "four", "five", "six")
	c.end()
	p.arrives(4, "one", "three", "five")
}

// The receiver gets what the program has written, checksums and all.
func rewrites(t *testing.T, program string) {
	p := newPath(t, netlab.Output)
	c := start(t, p.ns, program, "3")
	p.send(4, "wrong checksum", "small", "and more")
	p.arrives(4, "SMALL!", "AND MORE!")
	c.end()
}

func tellsFields(t *testing.T, program string) {
	for _, test := range []struct {
		hook    netlab.Hook
		version string
		copied  string
		want    string
	}{
		{netlab.Output, "4", "0", "mark 0 hook 3 in  out lo protocol 0800 type 0 address 0: payload 32 version 4"},
		{netlab.Output, "6", "100000", "mark 0 hook 3 in  out lo protocol 86dd type 0 address 0: payload 52 version 6"},
		{netlab.Input, "4", "24", "mark 0 hook 1 in lo out  protocol 0800 type 772 address 6:000000000000 payload 24 version 4"},
	} {
		p := newPath(t, test.hook)
		c := start(t, p.ns, program, "1", test.version, test.copied)
		version := int(test.version[0] - '0')
		p.send(version, "text")
		p.arrives(version, "text")
		if got := c.hear(); got != test.want {
			t.Errorf("at %v:\n%s, want\n%s", test.hook, got, test.want)
		}
		c.end()
	}
}

// Two handles share the queue, and each has its own packets and its own descriptor.
func hasTwoHandles(t *testing.T, program string) {
	for _, arguments := range [][]string{{"40"}, {"40", "after"}} {
		p := newPath(t, netlab.Output)
		c := start(t, p.ns, append([]string{program}, arguments...)...)
		for range 10 {
			p.send(4, "four", "four")
			p.send(6, "six")
			p.arrives(6, "six")
			p.send(6, "six")
			p.arrives(6, "six")
			p.arrives(4, "four", "four")
		}
		c.end()
	}
}

// What a handle has not decided when it is destroyed is dropped.
func leavesOne(t *testing.T, program string) {
	p := newPath(t, netlab.Output)
	c := start(t, p.ns, program)
	hear := func(want string) {
		t.Helper()
		if line := c.hear(); line != want {
			t.Fatalf("it says %q, not %q: %s", line, want, &c.errs)
		}
	}
	p.send(4, "one")
	p.arrives(4, "one")
	p.send(6, "taken", "not read")
	p.send(4, "two")
	hear("left")
	p.arrives(4, "two")
	hear("again")
	p.send(6, "before there is a mode")
	p.send(4, "three")
	hear("mode")
	p.arrives(4, "three")
	if s, err := p.ns.QueueStats(); err != nil || len(s) != 1 || s[0].Waiting != 0 {
		t.Errorf("%+v, %v: packets wait", s, err)
	}
	p.send(6, "too long for the buffer", "found")
	p.arrives(6, "found")
	c.end()
}

func polls(t *testing.T, program string) {
	p := newPath(t, netlab.Output)
	c := start(t, p.ns, program, "5")
	p.send(4, "one", "two", "three")
	p.arrives(4, "one", "two", "three")
	p.send(4, "four", "five")
	p.arrives(4, "four", "five")
	c.end()
}

// The process that began has ended, and the daemon serves the queue.
func becomesDaemon(t *testing.T, program string) {
	p := newPath(t, netlab.Output)
	c := start(t, p.ns, program, "3")
	p.send(4, "one", "two", "three")
	p.arrives(4, "one", "two", "three")
	if line := c.hear(); line != "done" {
		t.Errorf("the daemon says %q", line)
	}
	c.end()
}

func forksLate(t *testing.T, program string) {
	p := newPath(t, netlab.Output)
	c := start(t, p.ns, program)
	p.send(4, "text")
	p.arrives(4, "text")
	c.end()
}

const perrors = "wrong: Failed to send netlink message: Operation not permitted\nERROR: Failed to send netlink message: Operation not permitted\n"

func callsWrongly(t *testing.T, program string) {
	p := newPath(t, netlab.Output)
	c := start(t, p.ns, program)
	p.send(4, "a text that does not fit into the buffer")
	c.end()
	if got := c.errs.String(); got != perrors {
		t.Errorf("it says %q", got)
	}
}

func closesMeanwhile(t *testing.T, program string) {
	ns := labtest.New(t)
	cmd := exec.CommandContext(t.Context(), program)
	var out []byte
	if err := ns.Do(func() (err error) {
		out, err = cmd.CombinedOutput()
		return err
	}); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The manual page's own command queues packets for it, and so does that of today.
func queuesByCommand(t *testing.T, program string) {
	iptables, ping := labtest.Program(t, "iptables-legacy"), labtest.Program(t, "ping")
	for _, target := range []string{"QUEUE", "NFQUEUE"} {
		ns := labtest.New(t)
		ask := func(args ...string) ([]byte, error) {
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			var out []byte
			return out, ns.Do(func() (err error) {
				out, err = cmd.CombinedOutput()
				return err
			})
		}
		if out, err := ask(iptables, "-A", "OUTPUT", "-p", "icmp", "-j", target); err != nil {
			if strings.Contains(string(out), "does not exist") || strings.Contains(string(out), "Permission denied") {
				t.Skipf("this kernel has no iptables of the old kind: %s", out)
			}
			t.Fatalf("%v: %s", err, out)
		}
		c := start(t, ns, program, "4")
		// A request and its answer both leave by OUTPUT.
		if out, err := ask(ping, "-c", "2", "-i", "0.2", "-W", "60", "127.0.0.1"); err != nil || !strings.Contains(string(out), " 2 received") {
			t.Errorf("-j %s: %v\n%s", target, err, out)
		}
		c.end()
	}
}

// The programs in the documents are programs, and do what they say.
func documents(t *testing.T, l *library) {
	for _, document := range []struct {
		name, begin, end string
		arrive           []string
	}{
		{"README.md", "```c\n", "```\n", []string{"one", "two", "three"}},
		{"libipq.3", ".EX\n#include", ".EE\n", []string{"one", "three"}},
	} {
		text, err := os.ReadFile(document.name)
		if err != nil {
			t.Fatal(err)
		}
		_, source, ok := strings.Cut(string(text), document.begin)
		source, _, closed := strings.Cut(source, document.end)
		if !ok || !closed {
			t.Fatalf("%s has no program", document.name)
		}
		if strings.HasSuffix(document.begin, "#include") { // which is a part of it
			source = "#include" + strings.ReplaceAll(source, `\-`, "-")
		}
		file := filepath.Join(t.TempDir(), "document.c")
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		p := newPath(t, netlab.Output)
		cmd := exec.CommandContext(t.Context(), l.compileFile(t, file))
		if err := p.ns.Do(cmd.Start); err != nil {
			t.Fatal(err)
		}
		for bound := false; !bound; {
			s, err := p.ns.QueueStats()
			if err != nil {
				t.Fatal(err)
			}
			bound = len(s) == 1 && s[0].CopyMode != 0
		}
		p.send(4, "one", "two", "three")
		p.arrives(4, document.arrive...)
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	}
}

// Who may not bind a queue is told so, and who finds it taken something else.
func refused(t *testing.T, program string) {
	p := newPath(t, netlab.Output)
	c := start(t, p.ns, program, "1")
	expect := func(want string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		var out []byte
		if err := p.ns.Do(func() (err error) {
			out, err = cmd.CombinedOutput()
			return err
		}); err == nil || string(out) != want {
			t.Errorf("%s: %v: %q", args, err, out)
		}
	}
	expect("create: Unable to bind netlink socket: Device or resource busy\n", program, "1")
	setpriv := labtest.Program(t, "setpriv")
	expect("create: Unable to bind netlink socket: Operation not permitted\n", setpriv, "--bounding-set=-net_admin", "--inh-caps=-net_admin", program, "1")
	p.send(4, "text")
	p.arrives(4, "text")
	c.end()
}

// Two processes have a queue each, by their environment.
func numbers(t *testing.T, program string) {
	p := newPath(t, netlab.Output)
	c := start(t, p.ns, program, "1")
	other := start(t, p.ns, "/usr/bin/env", "LIBIPQ_QUEUE=1", program, "1")
	if s, err := p.ns.QueueStats(); err != nil || len(s) != 2 || s[0].Queue != 0 || s[1].Queue != 1 || s[1].CopyMode != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := other.cmd.Process.Signal(os.Interrupt); err != nil { // which Go leaves alone
		t.Fatal(err)
	}
	if err := other.cmd.Wait(); err == nil || err.Error() != "signal: interrupt" {
		t.Errorf("the other ended by %v", err)
	}
	for _, wrong := range []string{"x", "", "65536", "-1", "1x"} {
		cmd := exec.CommandContext(t.Context(), "/usr/bin/env", "LIBIPQ_QUEUE="+wrong, program, "1")
		if out, err := cmd.CombinedOutput(); err == nil || string(out) != "create: Unable to bind netlink socket: Invalid argument\n" {
			t.Errorf("number %q: %v: %s", wrong, err, out)
		}
	}
	p.send(4, "text")
	p.arrives(4, "text")
	c.end()
}
