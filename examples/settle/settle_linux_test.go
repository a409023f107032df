package main

import (
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/examples/internal/extest"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestMain(m *testing.M) { extest.Main(m, main) }

// The program inspects as many packets of a flow as it is told, and the kernel
// accepts the others.
func TestSettlesFlows(t *testing.T) {
	ns := labtest.New(t)
	conn := extest.Listen(t, ns)
	p := extest.Start(t, ns, "-packets", "3")
	p.WaitFor(t, "waiting for packets")
	// To itself, one after the other. Those that come before the program serves
	// the queue wait there.
	for range 10 {
		if _, err := conn.WriteTo([]byte("x"), conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(2 * time.Minute)) // only reached by a failure
		if _, err := conn.Read(make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
	}
	output := p.Interrupt(t)
	if !strings.Contains(output, "queued 3 packets, the kernel accepted 7 and dropped 0") {
		t.Errorf("output %q", output)
	}
}

// SIGTERM ends the program in order: what is queued already is decided, and its
// rules go, so that nothing is queued any more.
func TestTerminate(t *testing.T) {
	ns := labtest.New(t)
	p := extest.Start(t, ns, "-packets", "1000000")
	p.WaitFor(t, "waiting for packets")
	const packets = 100
	extest.CheckArrivals(t, ns, packets, func(send func()) {
		output := p.Terminate(t, send)
		if !strings.Contains(output, "queued 100 packets, the kernel accepted 0 and dropped 0") {
			t.Errorf("output %q", output)
		}
	})
	extest.CheckArrivals(t, ns, packets, func(send func()) { send() })
}
