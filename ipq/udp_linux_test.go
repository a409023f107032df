package ipq

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
)

// A udpPath sends datagrams over loopback in a namespace. It goes by queue
// number 7 at the OUTPUT hook.
type udpPath struct {
	t        testing.TB
	ns       *netlab.NS
	from, to *net.UDPConn
}

const udpPort = 9009

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
