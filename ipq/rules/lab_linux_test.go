package rules

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

func TestMain(m *testing.M) {
	helperMain()
	labtest.Main(m)
}

const (
	protocolUDP = 17
	udpPort     = 9009
	queueNumber = 17
	// patience is for what takes milliseconds on an idle machine.
	patience = 2 * time.Minute
)

func install(t testing.TB, ns *netlab.NS, s Set) *Ruleset {
	t.Helper()
	r, err := Config{NetNS: ns.FD()}.Install(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func update(t testing.TB, r *Ruleset, s Set) {
	t.Helper()
	if err := r.Update(s); err != nil {
		t.Fatal(err)
	}
}

// packets returns what the rules of the first chain have counted.
func packets(t testing.TB, r *Ruleset) (counts []uint64) {
	t.Helper()
	all, err := r.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all[0] {
		counts = append(counts, c.Packets)
	}
	return counts
}

// one is a Set of one chain.
func one(hook ipq.Hook, rules ...Rule) Set {
	return Set{Table: "product", Chains: []Chain{{Hook: hook, Rules: rules}}}
}

// tableNames returns the names of all tables of the namespace.
func tableNames(t testing.TB, ns *netlab.NS) (names []string) {
	t.Helper()
	all, err := nft(t, ns).ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range all {
		names = append(names, table.Name)
	}
	return names
}

func nft(t testing.TB, ns *netlab.NS) *nftables.Conn {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs a program in ns, and returns what it prints.
func run(t testing.TB, ns *netlab.NS, stdin, name string, args ...string) (string, error) {
	t.Helper()
	var out []byte
	err := ns.Do(func() (err error) {
		cmd := exec.Command(labtest.Program(t, name), args...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "XTABLES_LOCKFILE="+filepath.Join(t.TempDir(), "lock")) // /run is root's
		out, err = cmd.CombinedOutput()
		return err
	})
	return string(out), err
}

// mustRun runs a program that has to succeed.
func mustRun(t testing.TB, ns *netlab.NS, stdin, name string, args ...string) string {
	t.Helper()
	out, err := run(t, ns, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// A path sends datagrams over loopback in a namespace.
type path struct {
	t        testing.TB
	from, to *net.UDPConn
}

func newPath(t testing.TB, ns *netlab.NS) *path {
	t.Helper()
	p := &path{t: t}
	err := ns.Do(func() (err error) {
		addr := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: udpPort}
		if p.to, err = net.ListenUDP("udp", addr); err != nil {
			return err
		}
		p.from, err = net.DialUDP("udp", nil, addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.from.Close(); p.to.Close() })
	return p
}

func (p *path) send(text string) {
	p.t.Helper()
	if _, err := p.from.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// receive returns the next datagram that arrives.
func (p *path) receive() string {
	p.t.Helper()
	buf := make([]byte, 2048)
	p.to.SetReadDeadline(time.Now().Add(patience)) // only reached by a failure
	n, err := p.to.Read(buf)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(buf[:n])
}

// serve runs a handler on queues in ns until the test ends.
func serve(t testing.TB, ns *netlab.NS, first uint16, queues int, h ipq.HandlerFunc) {
	t.Helper()
	q, err := ipq.Open(ipq.Config{
		Queue: first, Queues: queues, NetNS: ns.FD(), Workers: ipq.Inline, MaxDeferred: 500, DeferTimeout: ipqNever,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, h) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, q.Close()); err != nil {
			t.Error(err)
		}
	})
}

// ipqNever is longer than any test.
const ipqNever = time.Hour

// await waits until cond holds.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func deadline() time.Time { return time.Now().Add(patience) }

// rawSocket returns a socket that sends whole IP packets in ns.
func rawSocket(t testing.TB, ns *netlab.NS, family int) int {
	t.Helper()
	fd := -1
	err := ns.Do(func() (err error) {
		if fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
			return os.NewSyscallError("socket", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func addrOf(host string, port int) *net.UDPAddr {
	return &net.UDPAddr{IP: net.ParseIP(host), Port: port}
}
