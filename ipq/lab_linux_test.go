package ipq

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestMain(m *testing.M) {
	flood.Main()
	labtest.Main(m)
}

// echoRules queues the ICMP echo requests that leave ns.
func echoRules(t testing.TB, ns *netlab.NS, queue uint16, queues int) *netlab.Ruleset {
	t.Helper()
	rules, err := ns.InstallQueue(netlab.Rule{
		Hook:  netlab.Output,
		Match: netlab.Match{EchoRequest: true},
		Queue: queue, Queues: queues,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rules.Remove() })
	return rules
}

// serve opens a queue and runs it until stop is called, which returns Run's
// error.
func serve(t testing.TB, cfg Config, h Handler) (q *Queue, stop func() error) {
	t.Helper()
	q, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, h) }()
	var result error
	ended := false
	stop = func() error {
		if !ended {
			cancel()
			result, ended = <-done, true
		}
		return result
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := q.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return q, stop
}

// fileOf returns a descriptor of the socket of q, or of its first; see Queue.File.
func fileOf(t testing.TB, q *Queue) *os.File {
	t.Helper()
	file, err := q.File(0)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// startFlood starts a flood in ns that is stopped when the test ends.
func startFlood(t testing.TB, ns *netlab.NS, cfg flood.Config) *flood.Flood {
	t.Helper()
	var f *flood.Flood
	if err := ns.Do(func() (err error) {
		f, err = flood.Start(t.Context(), cfg)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := f.Stop(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("flood: %v", err)
		}
	})
	return f
}

// fewer is how many of n packets a test sends: with -short, as in an emulator, a
// tenth.
func fewer(n uint64) uint64 {
	if testing.Short() {
		return n / 10
	}
	return n
}

// runFlood starts a flood in ns and waits for its end.
func runFlood(t testing.TB, ns *netlab.NS, cfg flood.Config) flood.Stats {
	t.Helper()
	cfg.Timeout = time.Minute // a slow machine loses nothing, either
	s, err := startFlood(t, ns, cfg).Wait()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runQuick sends n requests, of which no answer is expected.
func runQuick(t *testing.T, ns *netlab.NS, n uint64) flood.Stats {
	t.Helper()
	f := startFlood(t, ns, flood.Config{Count: n, Window: int(n), Timeout: 100 * time.Millisecond})
	s, err := f.Wait()
	if err != nil || s.Sent != n {
		t.Errorf("flood: %+v, %v", s, err)
	}
	return s
}

const udpPort = 9009

// A udpPath sends datagrams over loopback in a namespace. It goes by queue
// number 7 at the OUTPUT hook.
type udpPath struct {
	t        testing.TB
	ns       *netlab.NS
	from, to *net.UDPConn
}

func newUDPPath(t testing.TB, ns *netlab.NS, loopback string, rules ...netlab.Rule) *udpPath {
	t.Helper()
	if rules == nil {
		rules = []netlab.Rule{{Hook: netlab.Output, Queue: fakeNumber}}
	}
	for i := range rules {
		rules[i].Match.L4Proto, rules[i].Match.DstPort = unix.IPPROTO_UDP, udpPort
	}
	if _, err := ns.InstallQueue(rules...); err != nil {
		t.Fatal(err)
	}
	return pathFor(t, ns, loopback)
}

// pathFor returns a udpPath for which there are rules.
func pathFor(t testing.TB, ns *netlab.NS, loopback string) *udpPath {
	t.Helper()
	u := &udpPath{t: t, ns: ns}
	err := ns.Do(func() (err error) {
		addr := &net.UDPAddr{IP: net.ParseIP(loopback), Port: udpPort}
		if u.to, err = net.ListenUDP("udp", addr); err != nil {
			return err
		}
		u.from, err = net.DialUDP("udp", nil, addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.from.Close(); u.to.Close() })
	return u
}

func (u *udpPath) send(text string) {
	u.t.Helper()
	if _, err := u.from.Write([]byte(text)); err != nil {
		u.t.Fatal(err)
	}
}

// receive returns the next datagram that arrives.
func (u *udpPath) receive() string {
	u.t.Helper()
	buf := make([]byte, 1<<16)
	u.to.SetReadDeadline(time.Now().Add(time.Minute)) // only reached by a failure
	n, err := u.to.Read(buf)
	if err != nil {
		u.t.Fatal(err)
	}
	return string(buf[:n])
}

// answer sends a datagram the other way, which is not queued, and waits for it.
func (u *udpPath) answer() {
	u.t.Helper()
	_, err := u.to.WriteTo([]byte("answer"), u.from.LocalAddr().(*net.UDPAddr))
	if err == nil {
		u.from.SetReadDeadline(time.Now().Add(time.Minute)) // only reached by a failure
		_, err = u.from.Read(make([]byte, 16))
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

// overTCP sends data through a connection over ns's loopback and returns what
// arrives.
func overTCP(t *testing.T, ns *netlab.NS, data []byte) []byte {
	t.Helper()
	var l net.Listener
	var from net.Conn
	err := ns.Do(func() (err error) {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		from, err = net.Dial("tcp", l.Addr().String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	to.SetDeadline(time.Now().Add(time.Minute)) // only reached by a failure
	go func() {
		from.Write(data)
		from.Close()
	}()
	got, err := io.ReadAll(to)
	if err != nil {
		t.Error(err)
	}
	return got
}

// sendUnserved opens a queue, sends packets to it, and closes it in the end.
func sendUnserved(t *testing.T, ns *netlab.NS, cfg Config, n int, text string) *Queue {
	t.Helper()
	u := newUDPPath(t, ns, "127.0.0.1")
	cfg.Queue, cfg.NetNS, cfg.Workers = fakeNumber, ns.FD(), Inline
	q, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	for range n {
		u.send(text)
	}
	return q
}

// drain has what is queued decided.
func drain(t *testing.T, q *Queue) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Run(ctx, accept); err != nil {
		t.Fatal(err)
	}
}

// A gate is a handler that accepts packets while it is open, and holds them up
// while it is shut.
type gate struct {
	came, handled atomic.Uint64
	mu            sync.RWMutex // locked: shut
}

func (g *gate) HandlePacket(*Packet) Verdict {
	g.came.Add(1)
	g.mu.RLock()
	defer g.mu.RUnlock()
	g.handled.Add(1)
	return Accept
}

// shut shuts the gate and waits until a packet is held up.
func (g *gate) shut(t *testing.T) {
	t.Helper()
	g.mu.Lock()
	await(t, "a packet to be held", func() bool { return g.came.Load() > g.handled.Load() })
}

// goesOn waits until n more packets have been handled.
func (g *gate) goesOn(t *testing.T, n uint64) {
	t.Helper()
	from := g.handled.Load()
	await(t, "packets to be handled", func() bool { return g.handled.Load() >= from+n })
}

// leavesNothing fails the test if attempts leave descriptors or goroutines behind.
func leavesNothing(t *testing.T, what string, attempt func()) {
	t.Helper()
	attempt() // what is made once stays
	// The garbage collector closes files, too.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before, fds := goroutines(), descriptors(t)
	for range 5 {
		attempt()
	}
	settle(t, "goroutines after "+what, before, goroutines)
	settle(t, "descriptors after "+what, fds, func() int { return descriptors(t) })
}

// settle waits until count is no more than want: goroutines that have been
// told to end take a moment.
func settle(t *testing.T, what string, want int, count func() int) {
	t.Helper()
	if !poll(func() bool { return count() <= want }) {
		var stacks strings.Builder
		pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		t.Fatalf("%d %s, before %d\n%s", count(), what, want, stacks.String())
	}
}

func goroutines() int { return runtime.NumGoroutine() }

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// helperEnv makes the test binary do one thing and exit.
const helperEnv = "GOIPQ_TEST_HELPER"

// childNetNS is the descriptor of the namespace that startChild passes on.
const childNetNS = 3

// childFiles is the first descriptor of the files that startChild passes on.
const childFiles = 4

// A child is a test of this package, run again in a process of its own for what
// is to be seen of a process. They talk in lines.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// startChild runs the calling test with helperEnv set to role, and with files as
// descriptors from childFiles on. The process ends
// when its test does, and should when its standard input ends.
func startChild(t *testing.T, ns *netlab.NS, role string, files ...*os.File) *child {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(ns.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	nsFile := os.NewFile(uintptr(fd), "namespace")
	defer nsFile.Close()
	name, _, _ := strings.Cut(t.Name(), "/")
	c := &child{t: t, cmd: exec.Command("/proc/self/exe", "-test.run=^"+name+"$")}
	c.cmd.Env = append(os.Environ(), helperEnv+"="+role, "GORACE=atexit_sleep_ms=0")
	c.cmd.ExtraFiles = append([]*os.File{nsFile}, files...)
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	})
	return c
}

// say tells the process something.
func (c *child) say(line string) { fmt.Fprintln(c.stdin, line) }

// hear scans the next line that the process says.
func (c *child) hear(format string, args ...any) {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("the process said %q, %v", line, err)
	}
	if n, err := fmt.Sscanf(line, format+"\n", args...); n != len(args) || err != nil {
		c.t.Fatalf("the process said %q, want %q: %v", line, format, err)
	}
}

// end has the process end in order.
func (c *child) end() {
	c.t.Helper()
	c.stdin.Close()
	said, _ := io.ReadAll(c.out)
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("the process: %v\n%s", err, said)
	}
}

// dropCapabilities takes all capabilities from the calling thread, to which it
// locks the goroutine.
func dropCapabilities(t *testing.T) {
	runtime.LockOSThread()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData // version 3 has two words
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		t.Fatal(err)
	}
}

// dropNetAdmin takes CAP_NET_ADMIN from the calling thread.
func dropNetAdmin() error { return dropCapability(unix.CAP_NET_ADMIN) }

// dropCapability takes one of the first 32 capabilities from the calling thread.
func dropCapability(number int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	data[0].Effective &^= 1 << number
	return os.NewSyscallError("capset", unix.Capset(&header, &data[0]))
}
