package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/examples/internal/extest"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { extest.Main(m, main) }

// The program drops UDP to port 9 and nothing else.
func TestDropsOnePort(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			l := newLab(t, addr)
			p := extest.Start(t, l.ns)

			// Before the program has bound the queue, the kernel drops all.
			knocks := uint64(0)
			for deadline := time.Now().Add(2 * time.Minute); l.passed(t, 10) == 0; knocks++ {
				if time.Now().After(deadline) {
					t.Fatal("nothing passes the queue")
				}
				l.send(t, 10)
				time.Sleep(time.Millisecond) // between two looks at a counter
			}
			before := l.passed(t, 10)
			l.send(t, 9)
			l.send(t, 10)

			// When the program has ended, everything is decided.
			output := p.Interrupt(t)
			if !strings.HasSuffix(output, " accepted, 1 dropped\n") {
				t.Errorf("output %q", output)
			}
			if n := l.passed(t, 9); n != 0 {
				t.Errorf("%d packets to port 9 passed", n)
			}
			if n := l.passed(t, 10); n <= before || n > knocks+1 {
				t.Errorf("%d packets to port 10 passed, %d before the last", n, before)
			}
		})
	}
}

// SIGTERM ends the program in order: what is queued already is decided.
func TestTerminate(t *testing.T) {
	l := newLab(t, "127.0.0.1")
	p := extest.Start(t, l.ns)
	for deadline := time.Now().Add(2 * time.Minute); l.passed(t, 10) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nothing passes the queue")
		}
		l.send(t, 10)
		time.Sleep(time.Millisecond) // between two looks at a counter
	}
	const packets = 100
	extest.CheckArrivals(t, l.ns, packets, func(send func()) {
		output := p.Terminate(t, func() {
			send()
			l.send(t, 9)
		})
		if !strings.HasSuffix(output, " accepted, 1 dropped\n") {
			t.Errorf("output %q", output)
		}
	})
	if n := l.passed(t, 9); n != 0 {
		t.Errorf("%d packets to port 9 passed", n)
	}
}

// A lab is a namespace whose UDP packets go to queue 0, with a socket to send
// them from.
type lab struct {
	ns    *netlab.NS
	after *netlab.Ruleset // counts what was accepted, to port 9 and to port 10
	conn  *net.UDPConn
	to    net.IP
}

func newLab(t *testing.T, addr string) *lab {
	t.Helper()
	l := &lab{ns: labtest.New(t), to: net.ParseIP(addr)}
	var err error
	if _, err = l.ns.InstallQueue(netlab.Rule{
		Hook:  netlab.Output,
		Match: netlab.Match{L4Proto: unix.IPPROTO_UDP},
		Queue: 0,
	}); err != nil {
		t.Fatal(err)
	}
	if l.after, err = l.ns.InstallCounter(netlab.Postrouting, 0,
		netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: 9},
		netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: 10},
	); err != nil {
		t.Fatal(err)
	}
	// Not connected, so that nobody at home is no error.
	if err := l.ns.Do(func() (err error) {
		l.conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: l.to})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.conn.Close() })
	return l
}

func (l *lab) send(t *testing.T, port int) {
	t.Helper()
	if _, err := l.conn.WriteToUDP([]byte("x"), &net.UDPAddr{IP: l.to, Port: port}); err != nil {
		t.Fatal(err)
	}
}

// passed returns how many packets to port 9 or 10 were accepted.
func (l *lab) passed(t *testing.T, port int) uint64 {
	t.Helper()
	c, err := l.after.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c[port-9].Packets
}
