//go:build linux && cgo

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// A library is libipq.so and what compiles programs against it.
type library struct {
	dir string
	env []string
}

var buildLine = regexp.MustCompile(`(?m)^(go build -buildmode=c-shared .*) -o (libipq\.so\.0) \.$`)

// build builds the library by the README's own command.
func build(t *testing.T) *library {
	t.Helper()
	labtest.Need(t)
	readme, err := os.ReadFile("README.md")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("an ordinary user has the test, and neither the sources nor the go command")
	}
	if err != nil {
		t.Fatal(err)
	}
	line := buildLine.FindSubmatch(readme)
	if line == nil {
		t.Fatal("README.md has no command that builds the library")
	}
	l := &library{dir: t.TempDir(), env: append(os.Environ(), "GOFLAGS=-buildvcs=false")}
	name := filepath.Join(l.dir, string(line[2]))
	l.run(t, "sh", "-c", fmt.Sprintf("%s -o %s .", line[1], name))
	if err := os.Symlink(string(line[2]), filepath.Join(l.dir, "libipq.so")); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *library) run(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = l.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// compile compiles a program of testdata, and returns its path.
func (l *library) compile(t *testing.T, name string, flags ...string) string {
	t.Helper()
	return l.compileFile(t, filepath.Join("testdata", name+".c"), flags...)
}

func (l *library) compileFile(t *testing.T, file string, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	args := append([]string{"-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-Iinclude"}, flags...)
	l.run(t, "gcc", append(args, "-o", path, file, "-L"+l.dir, "-lipq", "-Wl,-rpath,"+l.dir)...)
	return path
}

// A program is a process in a namespace.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *bufio.Reader
	errs bytes.Buffer
}

// start runs a program, and waits until it is ready.
func start(t *testing.T, ns *netlab.NS, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.CommandContext(t.Context(), args[0], args[1:]...)}
	out, w, err := os.Pipe() // whose end a daemon has, too
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	p.out, p.cmd.Stdout, p.cmd.Stderr = bufio.NewReader(out), w, &p.errs
	// A daemon keeps them open.
	p.cmd.WaitDelay = time.Minute
	if err := ns.Do(p.cmd.Start); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if line := p.hear(); line != "ready" {
		p.cmd.Wait()
		t.Fatalf("%s says %q: %v\n%s", args, line, p.cmd.ProcessState, &p.errs)
	}
	return p
}

func (p *program) hear() string {
	line, err := p.out.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		p.t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n")
}

// end waits for a program that ends by itself, well.
func (p *program) end() {
	p.t.Helper()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%s: %v\n%s", p.cmd, err, &p.errs)
	}
}

// A path is where datagrams go: over loopback, by way of queue 0.
type path struct {
	t      *testing.T
	ns     *netlab.NS
	to     map[int]*net.UDPConn // by the version of IP
	socket map[int]*net.UDPConn
}

const port = 4711

func newPath(t *testing.T, hook netlab.Hook) *path {
	t.Helper()
	p := &path{t: t, ns: labtest.New(t), to: map[int]*net.UDPConn{}, socket: map[int]*net.UDPConn{}}
	rules, err := p.ns.InstallQueue(netlab.Rule{Hook: hook, Match: netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: port}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rules.Remove() })
	if err := p.ns.Do(func() (err error) {
		for version, ip := range map[int]net.IP{4: net.IPv4(127, 0, 0, 1), 6: net.IPv6loopback} {
			addr := &net.UDPAddr{IP: ip, Port: port}
			if p.to[version], err = net.ListenUDP("udp", addr); err != nil {
				return err
			}
			if p.socket[version], err = net.DialUDP("udp", nil, addr); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, version := range []int{4, 6} {
			p.to[version].Close()
			p.socket[version].Close()
		}
	})
	return p
}

func (p *path) send(version int, texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		if _, err := p.socket[version].Write([]byte(text)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// arrives checks what comes next. That it comes is not a matter of time: whoever waits
// in vain is ended by the test's own limit.
func (p *path) arrives(version int, texts ...string) {
	p.t.Helper()
	for _, want := range texts {
		var buf [2000]byte
		n, err := p.to[version].Read(buf[:])
		if err != nil || string(buf[:n]) != want {
			p.t.Fatalf("%q arrives, %v, want %q", buf[:n], err, want)
		}
	}
}
