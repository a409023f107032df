package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Veth joins two namespaces, which may be the same, by a pair of virtual
// Ethernet links. Both ends are up and carry packets when it returns. IPv6
// duplicate address detection is off on them. After an error the pair may
// exist, until one of its namespaces goes.
func Veth(a *NS, nameA string, b *NS, nameB string) error {
	err := a.Do(func() error {
		pair := &netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: nameA},
			PeerName:      nameB,
			PeerNamespace: netlink.NsFd(b.FD()),
		}
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("netlab: add veth pair %s, %s: %w", nameA, nameB, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, step := range []func(n *NS, link string) error{(*NS).noDAD, (*NS).SetUp, (*NS).awaitCarrier} {
		if err := step(a, nameA); err != nil {
			return err
		}
		if err := step(b, nameB); err != nil {
			return err
		}
	}
	return nil
}

// Bridge joins links of the namespace by a bridge, which is up. A kernel without
// bridges returns unix.EOPNOTSUPP.
func (n *NS) Bridge(name string, ports ...string) error {
	err := n.Do(func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return fmt.Errorf("netlab: add bridge %s: %w", name, err)
		}
		for _, port := range ports {
			l, err := netlink.LinkByName(port)
			if err == nil {
				err = netlink.LinkSetMaster(l, bridge)
			}
			if err != nil {
				return fmt.Errorf("netlab: add link %s to bridge %s: %w", port, name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return n.SetUp(name)
}

// Addr gives the link an address with a prefix length, such as "10.0.0.1/24" or
// "fd00::1/64". It is usable on return.
func (n *NS) Addr(link, cidr string) error {
	return n.withLink(link, "add address "+cidr+" to", func(l netlink.Link) error {
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(l, addr); err != nil {
			return err
		}
		if addr.IP.To4() != nil {
			return nil
		}
		return await(func() (bool, error) { return settled(l, addr.IP.Equal) })
	})
}

// Route sends packets for dst, a prefix ("0.0.0.0/0" and "::/0" are the default
// routes), by way of the gateway address via, which must be on a link that is
// up. It replaces a route for the same prefix.
func (n *NS) Route(dst, via string) error {
	return n.Do(func() error {
		_, prefix, err := net.ParseCIDR(dst)
		if err != nil {
			return fmt.Errorf("netlab: route: %w", err)
		}
		gateway := net.ParseIP(via)
		if gateway == nil {
			return fmt.Errorf("netlab: route %s: gateway: %w", dst, &net.ParseError{Type: "IP address", Text: via})
		}
		if err := netlink.RouteReplace(&netlink.Route{Dst: prefix, Gw: gateway}); err != nil {
			return fmt.Errorf("netlab: route %s via %s: %w", dst, via, err)
		}
		return nil
	})
}

// Local makes every address of a prefix one of the namespace's own, reachable
// by loopback and, where others have a route, by them. Over IPv4 a socket may
// bind to any of them, over IPv6 it listens on all of its addresses.
func (n *NS) Local(prefix string) error {
	return n.withLink("lo", "add local addresses "+prefix+" to", func(lo netlink.Link) error {
		_, dst, err := net.ParseCIDR(prefix)
		if err != nil {
			return err
		}
		return netlink.RouteReplace(&netlink.Route{
			Dst:       dst,
			LinkIndex: lo.Attrs().Index,
			Type:      unix.RTN_LOCAL,
			Table:     unix.RT_TABLE_LOCAL,
			Scope:     netlink.SCOPE_HOST,
		})
	})
}

// SetMTU sets the link's largest packet, in bytes.
func (n *NS) SetMTU(link string, mtu int) error {
	return n.withLink(link, fmt.Sprintf("set MTU %d of", mtu), func(l netlink.Link) error {
		return netlink.LinkSetMTU(l, mtu)
	})
}

// SetUp starts the link. A veth end carries packets only when the other end is
// up as well, and the kernel may take a moment to notice.
func (n *NS) SetUp(link string) error {
	return n.withLink(link, "set up", netlink.LinkSetUp)
}

// SetDown stops the link. The kernel drops the packets that wait in queues and
// came in or go out by it.
func (n *NS) SetDown(link string) error {
	return n.withLink(link, "set down", netlink.LinkSetDown)
}

func (n *NS) withLink(link, what string, f func(netlink.Link) error) error {
	return n.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err == nil {
			err = f(l)
		}
		if err != nil {
			return fmt.Errorf("netlab: %s link %s: %w", what, link, err)
		}
		return nil
	})
}

// noDAD turns duplicate address detection off, where the kernel has IPv6: for
// the address of Addr, and for the link-local one that the kernel adds and a
// router needs for finding its neighbours.
func (n *NS) noDAD(link string) error {
	err := n.Sysctl("net/ipv6/conf/"+link+"/accept_dad", "0")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// awaitCarrier waits until the link carries packets, before which its queueing
// discipline silently drops them, and its IPv6 link-local address is usable.
func (n *NS) awaitCarrier(link string) error {
	return n.withLink(link, "await carrier of", func(l netlink.Link) error {
		err := await(func() (bool, error) {
			now, err := netlink.LinkByIndex(l.Attrs().Index)
			return err == nil && now.Attrs().OperState == netlink.OperUp, err
		})
		if err != nil {
			return err
		}
		off, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + link + "/disable_ipv6")
		if errors.Is(err, fs.ErrNotExist) || strings.TrimSpace(string(off)) == "1" {
			return nil
		}
		if err != nil {
			return err
		}
		return await(func() (bool, error) { return settled(l, net.IP.IsLinkLocalUnicast) })
	})
}

// settled reports whether the link has such an IPv6 address and the kernel has
// done with it. Before, neighbours cannot find it, and ask again after a second:
// even without duplicate address detection it is a moment until the kernel joins
// the address's multicast group. Then it clears the flag.
func settled(l netlink.Link, such func(net.IP) bool) (bool, error) {
	addrs, err := netlink.AddrList(l, netlink.FAMILY_V6)
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return false, nil // the list was changing: read it again
	}
	for _, a := range addrs {
		if such(a.IP) && a.Flags&unix.IFA_F_TENTATIVE == 0 {
			return true, err
		}
	}
	return false, err
}

// await polls until ready reports true. Ten seconds are far above what the
// kernel takes, which defers news of a link by up to one when there are many.
func await(ready func() (bool, error)) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		ok, err := ready()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return os.ErrDeadlineExceeded
		}
		time.Sleep(time.Millisecond)
	}
}

// loopbackUp starts the loopback link of the calling thread's namespace.
func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("set link lo up: %w", err)
	}
	return nil
}
