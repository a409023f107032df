package extest

import (
	"net"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab"
)

// Listen returns a UDP socket on the loopback of ns, at a port of the kernel's
// choice, until the test ends.
func Listen(t *testing.T, ns *netlab.NS) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	if err := ns.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// CheckArrivals has during send so many datagrams over the loopback of ns, all
// at once, and then fails the test unless all of them arrive. They go to a port
// of the kernel's choice.
func CheckArrivals(t *testing.T, ns *netlab.NS, packets int, during func(send func())) {
	t.Helper()
	conn := Listen(t, ns)
	during(func() {
		for range packets {
			if _, err := conn.WriteTo([]byte("x"), conn.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
	})
	// When the example has ended, everything is decided and has arrived.
	conn.SetReadDeadline(time.Now().Add(patience))
	for n := range packets {
		if _, err := conn.Read(make([]byte, 8)); err != nil {
			t.Fatalf("%d of %d datagrams arrived: %v", n, packets, err)
		}
	}
}
