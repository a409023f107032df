package netlab_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// listen opens a UDP socket in the namespace.
func listen(t *testing.T, ns *netlab.NS, ip string) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	must(t, ns.Do(func() (err error) {
		c, err = net.ListenPacket("udp", net.JoinHostPort(ip, "0"))
		return err
	}))
	t.Cleanup(func() { c.Close() })
	return c
}

// exchange sends a datagram from one socket to the other and back.
func exchange(t *testing.T, a, b net.PacketConn) {
	t.Helper()
	for _, way := range [][2]net.PacketConn{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		if _, err := from.WriteTo([]byte("datagram"), to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		to.SetReadDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 16)
		n, sender, err := to.ReadFrom(buf)
		if err != nil || string(buf[:n]) != "datagram" || sender.String() != from.LocalAddr().String() {
			t.Fatalf("%v received %q from %v, %v; want a datagram from %v", to.LocalAddr(), buf[:n], sender, err, from.LocalAddr())
		}
	}
}

func TestVethCarriesBothFamiliesAtOnce(t *testing.T) {
	a, b := labtest.New(t), labtest.New(t)
	must(t,
		netlab.Veth(a, "left", b, "right"))
	wantReady(t, a, "left", 1)
	wantReady(t, b, "right", 1)
	must(t,
		a.Addr("left", "10.1.0.1/24"), b.Addr("right", "10.1.0.2/24"),
		a.Addr("left", "fd01::1/64"), b.Addr("right", "fd01::2/64"))
	wantReady(t, a, "left", 2)
	wantReady(t, b, "right", 2)
	exchange(t, listen(t, a, "10.1.0.1"), listen(t, b, "10.1.0.2"))
	exchange(t, listen(t, a, "fd01::1"), listen(t, b, "fd01::2"))
}

// wantReady checks that the link carries packets and that the kernel detects no
// duplicates of its IPv6 addresses, but is done with all of them.
func wantReady(t *testing.T, ns *netlab.NS, name string, addresses int) {
	t.Helper()
	must(t, ns.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if state := l.Attrs().OperState; state != netlink.OperUp {
			t.Errorf("%s is %v, want up", name, state)
		}
		dad, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + name + "/accept_dad")
		if err != nil || strings.TrimSpace(string(dad)) != "0" {
			t.Errorf("%s: accept_dad is %q, %v; want 0", name, dad, err)
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V6)
		if len(addrs) != addresses {
			t.Errorf("%s has addresses %v, want %d", name, addrs, addresses)
		}
		for _, a := range addrs {
			if a.Flags&unix.IFA_F_TENTATIVE != 0 {
				t.Errorf("address %v of %s is tentative", a, name)
			}
		}
		return err
	}))
}

func TestVethWithinOneNamespace(t *testing.T) {
	ns := labtest.New(t)
	must(t, netlab.Veth(ns, "v0", ns, "v1.5"), ns.SetMTU("v1.5", 9000))
	must(t, ns.Do(func() error {
		l, err := net.InterfaceByName("v1.5")
		if err == nil && l.MTU != 9000 {
			t.Errorf("MTU %d, want 9000", l.MTU)
		}
		return err
	}))
}

func TestSetDownAndUp(t *testing.T) {
	ns := labtest.New(t)
	up := func() (up bool) {
		must(t, ns.Do(func() error {
			lo, err := net.InterfaceByName("lo")
			up = err == nil && lo.Flags&net.FlagUp != 0
			return err
		}))
		return up
	}
	if !up() {
		t.Error("lo of a new namespace is down")
	}
	must(t, ns.SetDown("lo"))
	if up() {
		t.Error("lo is up after SetDown")
	}
	must(t, ns.SetUp("lo"))
	if !up() {
		t.Error("lo is down after SetUp")
	}
}

// route joins two hosts by a router, each over a link of its own.
func route(t *testing.T) (left, router, right *netlab.NS) {
	t.Helper()
	left, router, right = labtest.New(t), labtest.New(t), labtest.New(t)
	must(t,
		netlab.Veth(left, "eth0", router, "left"),
		netlab.Veth(right, "eth0", router, "right"),
		left.Addr("eth0", "10.1.0.2/24"), router.Addr("left", "10.1.0.1/24"),
		right.Addr("eth0", "10.2.0.2/24"), router.Addr("right", "10.2.0.1/24"),
		left.Addr("eth0", "fd01::2/64"), router.Addr("left", "fd01::1/64"),
		right.Addr("eth0", "fd02::2/64"), router.Addr("right", "fd02::1/64"),
		left.Route("0.0.0.0/0", "10.1.0.1"), left.Route("::/0", "fd01::1"),
		right.Route("10.1.0.0/24", "10.2.0.1"), right.Route("fd01::/64", "fd02::1"),
		router.Sysctl("net.ipv4.ip_forward", "1"),
		router.Sysctl("net.ipv6.conf.all.forwarding", "1"))
	return left, router, right
}

func TestRouterForwardsBothFamilies(t *testing.T) {
	left, router, right := route(t)
	seen, err := router.InstallCounter(netlab.Forward, 0,
		netlab.Match{InDev: "left", OutDev: "right"}, netlab.Match{InDev: "right"}, netlab.Match{InDev: "lo"})
	must(t, err)
	for range 3 {
		exchange(t, listen(t, left, "10.1.0.2"), listen(t, right, "10.2.0.2"))
		exchange(t, listen(t, left, "fd01::2"), listen(t, right, "fd02::2"))
	}
	wantPackets(t, seen, 6, 6, 0)
}

// All addresses of a prefix are one's own, for oneself and for others.
func TestLocal(t *testing.T) {
	left, router, right := route(t)
	must(t, right.Local("198.19.0.0/16"), right.Local("2001:2:0:1::/112"),
		router.Route("198.19.0.0/16", "10.2.0.2"), router.Route("2001:2:0:1::/112", "fd02::2"))
	exchange(t, listen(t, right, "198.19.0.0"), listen(t, right, "198.19.255.255"))
	exchange(t, listen(t, left, "10.1.0.2"), listen(t, right, "198.19.3.4"))
	// Over IPv6 a socket binds only to an address of a link.
	any := listen(t, right, "::")
	port := any.LocalAddr().(*net.UDPAddr).Port
	for from, ns := range map[string]*netlab.NS{"fd01::2": left, "fd02::2": right} {
		if _, err := listen(t, ns, from).WriteTo([]byte(from),
			&net.UDPAddr{IP: net.ParseIP("2001:2:0:1::ffff"), Port: port}); err != nil {
			t.Fatal(err)
		}
		any.SetReadDeadline(time.Now().Add(time.Minute))
		buf := make([]byte, 16)
		if n, _, err := any.ReadFrom(buf); err != nil || string(buf[:n]) != from {
			t.Errorf("%q, %v; want a datagram from %s", buf[:n], err, from)
		}
	}
}

// While the kernel is not done with a link, it drops packets; with an address,
// binding to it fails and neighbours do not find it. These are races, so the
// two tests give them chances to be lost.

func TestVethIsReadyOnReturn(t *testing.T) {
	for i := range 16 {
		a, b := labtest.New(t), labtest.New(t)
		must(t, netlab.Veth(a, "left", b, "right"))
		// The end that came up last is the one that may lag.
		wantReady(t, b, "right", 1)
		wantReady(t, a, "left", 1)
		if t.Failed() {
			t.Fatalf("pair %d", i)
		}
	}
}

func TestAddrIsUsableOnReturn(t *testing.T) {
	a, b := labtest.New(t), labtest.New(t)
	must(t, netlab.Veth(a, "left", b, "right"))
	for i := range 32 {
		must(t, a.Addr("left", fmt.Sprintf("fd01::1:%d/64", i)))
		wantReady(t, a, "left", i+2)
	}
}

// An address on a link that is down is added all the same.
func TestAddrOnALinkThatIsDown(t *testing.T) {
	ns := labtest.New(t)
	must(t,
		netlab.Veth(ns, "v0", ns, "v1"),
		ns.SetDown("v0"),
		ns.Addr("v0", "fd01::1/64"),
		ns.Addr("v1", "fd02::1/64"))
}

func TestLinkErrorsNameTheLink(t *testing.T) {
	ns := labtest.New(t)
	for what, err := range map[string]error{
		"SetUp":   ns.SetUp("nowhere"),
		"SetMTU":  ns.SetMTU("nowhere", 1500),
		"Addr":    ns.Addr("nowhere", "10.0.0.1/8"),
		"bad IP":  ns.Addr("lo", "nowhere"),
		"Local":   ns.Local("nowhere"),
		"Route":   ns.Route("10.0.0.0/8", "nowhere"),
		"Route 2": ns.Route("nowhere", "10.0.0.1"),
		"Sysctl":  ns.Sysctl("net.ipv4.nowhere", "1"),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		} else if !contains(err, "nowhere") {
			t.Errorf("%s: error %q does not name its object", what, err)
		}
	}
}
