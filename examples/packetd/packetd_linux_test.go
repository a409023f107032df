package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/examples/internal/extest"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// envStuck makes the service one whose handler does not return from UDP to stuckPort, and
// says so.
const (
	envStuck  = "PACKETD_TEST_STUCK"
	stuckPort = 13
)

func TestMain(m *testing.M) {
	if program := os.Getenv(envProgram); program != "" {
		become(program)
	}
	extest.Main(m, func() {
		if os.Getenv(envStuck) == "" {
			main()
			return
		}
		_ = run(func(p *ipq.Packet) ipq.Verdict {
			if p.Flow().DstPort == stuckPort {
				fmt.Println("stuck")
				select {}
			}
			return decide(p)
		})
	})
}

// A lab is a namespace whose UDP packets go to queue 0, and are dropped if nobody listens.
type lab struct {
	ns    *netlab.NS
	rules *netlab.Ruleset
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{ns: labtest.New(t)}
	var err error
	l.rules, err = l.ns.InstallQueue(netlab.Rule{Hook: netlab.Output, Match: netlab.Match{L4Proto: unix.IPPROTO_UDP}, Queue: 0})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// send sends a datagram to a port, and returns the socket at which it is to arrive.
func (l *lab) send(t *testing.T, port int) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	if err := l.ns.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.WriteTo([]byte("x"), conn.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// queued returns how many packets the rule has sent to the queue.
func (l *lab) queued(t *testing.T) uint64 {
	t.Helper()
	c, err := l.rules.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c[0].Packets
}

// When the service says that it is ready, the queue is bound, and when it is told to end
// it says so, decides what is left, and has its socket forgotten.
func TestStartAndStop(t *testing.T) {
	t.Parallel()
	for name, abstract := range map[string]bool{"file": false, "abstract": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			m := newManager(t, l.ns, abstract)
			m.start()
			m.await("READY=1")
			if len(m.kept) != 1 {
				t.Errorf("%d sockets are kept", len(m.kept))
			}
			const packets = 10
			extest.CheckArrivals(t, l.ns, packets, func(send func()) {
				send()
				m.stop()
			})
			if n := l.queued(t); n != packets {
				t.Errorf("%d packets were queued, of %d", n, packets)
			}
			if len(m.kept) != 0 {
				t.Error("the socket is kept for nobody")
			}
		})
	}
}

// Upgrades under a flood lose no packet, whoever is the main process at the moment.
func TestReload(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m := newManager(t, l.ns, false)
	m.env = []string{"GOGC=1", "GOMAXPROCS=4"} // the runtime makes all its calls
	m.start()
	m.await("READY=1")
	f := startFlood(t, l.ns)
	for range 3 {
		f.progress(t)
		m.installSelf()
		old := m.main
		m.reload()
		began := m.await("RELOADING=1")
		if us, _ := began.value("MONOTONIC_USEC"); us == "" || us == "0" {
			t.Errorf("RELOADING=1 comes with %q", began)
		}
		ready := m.await("READY=1") // of the main process, or hear complains
		if m.main == old {
			t.Fatal("no other process has taken over")
		}
		if !ready.has("WATCHDOG=1") { // upgrades in a row would let the time run out
			t.Errorf("the new process says only %q", ready)
		}
		if state := m.wait(old); !state.Success() {
			t.Errorf("the process before has ended with %v", state)
		}
	}
	f.progress(t)
	sent := f.stop(t)
	m.stop()
	if n := l.queued(t); n != sent {
		t.Errorf("%d packets were sent, and %d queued", sent, n)
	}
	if n := strings.Count(m.said(), "took the queue over"); n != 3 {
		t.Errorf("%d processes took the queue over, want 3", n)
	}
}

// A program that does not start takes nothing over: the one before it goes on, and says
// why.
func TestReloadFails(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m := newManager(t, l.ns, false)
	m.start()
	m.await("READY=1")
	f := startFlood(t, l.ns)
	for what, program := range map[string]string{"ends": "#!/bin/sh\nexit 1\n", "is none": "text"} {
		f.progress(t)
		old := m.main
		m.install([]byte(program))
		m.signal(unix.SIGHUP) // the command that sends it is the test binary, too
		m.await("RELOADING=1")
		said := m.await("READY=1")
		if why, _ := said.value("STATUS"); m.main != old || !strings.HasPrefix(why, "not reloaded: ") {
			t.Errorf("a program that %s: %q", what, said)
		}
	}
	f.progress(t)
	f.stop(t)
	m.stop()
}

// Of a process that is killed under a flood, its successor gets the socket, which systemd
// has kept, and what the process had received: with -fail-open no packet is lost.
func TestKilled(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m := newManager(t, l.ns, true)
	m.env = []string{envStuck + "=1"}
	m.start("-fail-open")
	m.await("READY=1")
	f := startFlood(t, l.ns)
	f.progress(t)
	held := l.send(t, stuckPort) // which is received, and not decided
	for begin := time.Now(); !strings.Contains(m.said(), "stuck"); time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("the handler was not called")
		}
	}
	m.env = nil
	for range 2 {
		m.signal(unix.SIGKILL)
		if state := m.wait(m.main); state.Success() {
			t.Fatal("it was not killed")
		}
		m.start("-fail-open")
		m.await("READY=1")
		// What the first had received is decided, at the latest, as the next packet comes.
		extest.CheckArrivals(t, l.ns, 1, func(send func()) { send() })
		f.progress(t)
	}
	f.stop(t)
	if _, err := held.Read(make([]byte, 8)); err != nil {
		t.Errorf("what the dead process had received: %v", err)
	}
	m.stop()
	if !strings.Contains(m.said(), "from a process that was killed") {
		t.Error("nothing was taken over")
	}
}

// The service is alive while packets are decided, or none come, and not while a handler
// does not return.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m := newManager(t, l.ns, false)
	m.env = []string{"WATCHDOG_USEC=300000", envStuck + "=1"}
	m.start("-handler-timeout", "100ms")
	m.await("READY=1")
	for range 3 { // nothing comes
		m.await("WATCHDOG=1")
	}
	l.send(t, stuckPort)
	for begin, stuck := time.Now(), 0; stuck < 5; stuck++ {
		if said := m.hear(); said.has("WATCHDOG=1") {
			stuck = -1 // the packet may not have come yet
		}
		if time.Since(begin) > patience {
			t.Fatal("the service calls itself alive")
		}
	}
}

// A queue is alive if it moves, or has nothing to move.
func TestAlive(t *testing.T) {
	for what, x := range map[string]struct {
		last, now ipq.Counts
		want      bool
	}{
		"nothing comes":              {ipq.Counts{Received: 5, Verdicts: 5}, ipq.Counts{Received: 5, Verdicts: 5}, true},
		"something has just come":    {ipq.Counts{Received: 5, Verdicts: 5}, ipq.Counts{Received: 9, Verdicts: 5, Waiting: 4}, true},
		"packets come":               {ipq.Counts{Received: 9, Verdicts: 5, Waiting: 6}, ipq.Counts{Received: 20, Verdicts: 9, Waiting: 20}, true},
		"what came is not decided":   {ipq.Counts{Received: 9, Verdicts: 5}, ipq.Counts{Received: 20, Verdicts: 8}, false},
		"what waits is not received": {ipq.Counts{Received: 5, Verdicts: 5, Waiting: 3}, ipq.Counts{Received: 5, Verdicts: 5, Waiting: 9}, false},
		"a handler is stuck":         {ipq.Counts{Received: 5, Verdicts: 5}, ipq.Counts{Received: 9, Verdicts: 9, Stuck: 1}, false},
	} {
		if got := alive(&x.last, &x.now); got != x.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// The filter is in force: without one of its calls the service does not run.
func TestFilterIsInForce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	m := newManager(t, l.ns, false)
	m.env = []string{envLacks + "=recvmmsg"}
	m.start()
	if state := m.wait(m.main); state.Success() || !strings.Contains(m.said(), "SIGSYS") {
		t.Errorf("it has ended with %v:\n%s", state, m.said())
	}
}

// A flood is datagrams over loopback, of several flows at once, in a closed loop: bursts
// that fit the queue, each of which has arrived before the next is sent.
type flood struct {
	sent     atomic.Uint64
	stopping atomic.Bool
	flows    sync.WaitGroup
}

const (
	floodFlows = 4
	floodBurst = 64
)

func startFlood(t *testing.T, ns *netlab.NS) *flood {
	f := new(flood)
	for range floodFlows {
		conn := extest.Listen(t, ns)
		f.flows.Go(func() {
			for b := make([]byte, 8); !f.stopping.Load(); f.sent.Add(floodBurst) {
				if err := burst(conn, b); err != nil {
					t.Errorf("after %d datagrams: %v", f.sent.Load(), err)
					return
				}
			}
		})
	}
	t.Cleanup(func() { f.stopping.Store(true); f.flows.Wait() })
	return f
}

// burst sends a burst and waits for all of it.
func burst(conn *net.UDPConn, b []byte) error {
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for range floodBurst {
		if _, err := conn.WriteTo(b, conn.LocalAddr()); err != nil {
			return err
		}
	}
	for range floodBurst {
		if _, err := conn.Read(b); err != nil {
			return err
		}
	}
	return nil
}

// progress waits until some bursts more have gone through.
func (f *flood) progress(t *testing.T) {
	t.Helper()
	for begin, from := time.Now(), f.sent.Load(); f.sent.Load() < from+10*floodFlows*floodBurst; time.Sleep(time.Millisecond) {
		if t.Failed() || time.Since(begin) > patience {
			t.Fatal("the flood does not go on")
		}
	}
}

// stop ends the flood and returns how many datagrams it has sent, all of which have
// arrived.
func (f *flood) stop(t *testing.T) uint64 {
	t.Helper()
	f.stopping.Store(true)
	f.flows.Wait()
	return f.sent.Load()
}
