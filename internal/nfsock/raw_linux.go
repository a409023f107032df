package nfsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Raw sends packets that this program makes up. Its methods may be called from any
// goroutine, also after Close.
type Raw struct {
	v4, v6, icmp6 rawSocket

	routes *netlink.Conn
}

// A rawSocket is a raw socket, or nothing where the kernel has no such protocol.
type rawSocket struct {
	file *os.File
	conn syscall.RawConn
}

// DialRaw opens what packets are sent by, in the network namespace that s belongs to.
// They have that mark. It needs CAP_NET_RAW, and CAP_NET_ADMIN for a mark before Linux
// 5.17.
func (s *Socket) DialRaw(mark uint32) (*Raw, error) {
	r := &Raw{}
	err := s.visit(func() (err error) {
		// IPPROTO_RAW: packets are given with their IP header, and none are received.
		if err = r.v4.open(unix.AF_INET, unix.IPPROTO_RAW, mark); err != nil {
			return err
		}
		if r.routes, err = netlink.Dial(unix.NETLINK_ROUTE, nil); err != nil {
			return err
		}
		if err = r.v6.open(unix.AF_INET6, unix.IPPROTO_RAW, mark); err != nil {
			return err
		}
		// The kernel chooses the source address of these, and makes the checksum.
		return r.icmp6.open(unix.AF_INET6, unix.IPPROTO_ICMPV6, mark)
	})
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (s *rawSocket) open(family, proto int, mark uint32) error {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		if family == unix.AF_INET6 && errors.Is(err, unix.EAFNOSUPPORT) {
			return nil // a kernel without IPv6
		}
		return os.NewSyscallError("socket", err)
	}
	s.file = os.NewFile(uintptr(fd), "raw socket")
	if s.conn, err = s.file.SyscallConn(); err != nil {
		return err
	}
	if mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
			return os.NewSyscallError("setsockopt SO_MARK", err)
		}
	}
	if proto == unix.IPPROTO_ICMPV6 {
		var none unix.ICMPv6Filter // a bit for each type that is not received
		for i := range none.Data {
			none.Data[i] = ^uint32(0)
		}
		if err := unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &none); err != nil {
			return os.NewSyscallError("setsockopt ICMPV6_FILTER", err)
		}
	}
	return nil
}

// Send sends an IP packet with its header to an address. Where that is link-local, ifindex
// is the link. In an IPv4 header the kernel fills in a source address of 0.
func (r *Raw) Send(b []byte, to netip.Addr, ifindex int) error {
	if to.Is4() {
		return r.v4.send(b, &unix.SockaddrInet4{Addr: to.As4()})
	}
	return r.v6.send(b, sockaddr6(to, ifindex))
}

// SendICMPv6 sends a message of ICMPv6, without its IPv6 header.
func (r *Raw) SendICMPv6(b []byte, to netip.Addr, ifindex int) error {
	return r.icmp6.send(b, sockaddr6(to, ifindex))
}

func sockaddr6(to netip.Addr, ifindex int) *unix.SockaddrInet6 {
	sa := &unix.SockaddrInet6{Addr: to.As16()}
	if to.IsLinkLocalUnicast() {
		sa.ZoneId = uint32(ifindex)
	}
	return sa
}

// send does not wait for room.
func (s *rawSocket) send(b []byte, to unix.Sockaddr) error {
	if s.conn == nil {
		return unix.EAFNOSUPPORT
	}
	var err error
	if cerr := s.conn.Control(func(fd uintptr) {
		err = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, to)
	}); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("sendto", err)
}

// Broadcast reports whether an IPv4 address is one of broadcast by this host's routes.
func (r *Raw) Broadcast(a netip.Addr) bool {
	dst := a.As4()
	ask := make([]byte, unix.SizeofRtMsg, unix.SizeofRtMsg+8)
	ask[0], ask[1] = unix.AF_INET, 32 // rtm_family, rtm_dst_len
	ask = binary.NativeEndian.AppendUint16(ask, 8)
	ask = binary.NativeEndian.AppendUint16(ask, unix.RTA_DST)
	// The kernel answers within the call that asks, or, short of memory, not at all.
	if err := r.routes.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	answers, err := r.routes.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETROUTE, Flags: netlink.Request},
		Data:   append(ask, dst[:]...),
	})
	if err != nil || len(answers) == 0 || len(answers[0].Data) < unix.SizeofRtMsg {
		return false // nowhere
	}
	const rtmType = 7
	return answers[0].Data[rtmType] == unix.RTN_BROADCAST
}

// Close closes the sockets.
func (r *Raw) Close() error {
	var errs []error
	for _, s := range []*rawSocket{&r.v4, &r.v6, &r.icmp6} {
		if s.file != nil {
			errs = append(errs, s.file.Close())
		}
	}
	if r.routes != nil {
		errs = append(errs, r.routes.Close())
	}
	return errors.Join(errs...)
}

// SetMark gives a socket a mark.
func SetMark(fd uintptr, mark uint32) error {
	err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
	if err != nil {
		return fmt.Errorf("give a socket the mark %#x, which takes CAP_NET_ADMIN or CAP_NET_RAW: %w", mark, os.NewSyscallError("setsockopt", err))
	}
	return nil
}
