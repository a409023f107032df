package flood

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

const icmpFilter = 1 // ICMP_FILTER, an option of SOL_RAW

// openSocket opens a raw ICMP socket that lets in nothing or, for a closed loop,
// the replies to requests that carry run.
func openSocket(cfg Config, run uint16) (int, error) {
	if cfg.UDP {
		return openUDP(cfg)
	}
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if cfg.IPv6 {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, fmt.Errorf("flood: raw ICMP socket (needs CAP_NET_RAW in the namespace): %w", err)
	}
	err = filterTypes(fd, cfg)
	if err == nil && cfg.Window > 0 {
		err = filterRun(fd, cfg, run)
	}
	if err != nil {
		err = fmt.Errorf("flood: filter replies: %w", err)
	} else {
		err = setBuffers(fd, cfg)
	}
	if err == nil && !cfg.IPv6 {
		// Sets the don't-fragment bit. A packet that may not be fragmented needs
		// no identification, for which all floods to an address would contend.
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openUDP opens a UDP socket that only sends.
func openUDP(cfg Config) (int, error) {
	family := unix.AF_INET
	if cfg.IPv6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("flood: UDP socket: %w", err)
	}
	err = setBuffers(fd, cfg)
	if err == nil && !cfg.IPv6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO) // as above
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// filterTypes blocks every ICMP type but those wanted, at less cost than
// filterRun. In both filters a bit that is set blocks its type; ICMP_FILTER has
// only types below 32.
func filterTypes(fd int, cfg Config) error {
	if cfg.IPv6 {
		var filter unix.ICMPv6Filter
		for i := range filter.Data {
			filter.Data[i] = ^uint32(0)
		}
		if cfg.Window > 0 {
			filter.Data[icmpv6EchoReply/32] &^= 1 << (icmpv6EchoReply % 32)
		}
		return unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter)
	}
	filter := -1
	if cfg.Window > 0 {
		filter &^= 1 << icmpEchoReply
	}
	return unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, filter)
}

// filterRun lets in only packets of this run, so that those of other senders
// take no room in the receive buffer. A raw socket's filter sees an IPv4 packet
// from its IP header on, an ICMPv6 message from its own.
func filterRun(fd int, cfg Config, run uint16) error {
	var skipHeader unix.SockFilter // X = length of the IP header
	if cfg.IPv6 {
		skipHeader = unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_IMM}
	} else {
		skipHeader = unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH}
	}
	program := []unix.SockFilter{
		skipHeader,
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: icmpHeaderLen},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(run), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: maxSize},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}); err != nil {
		return err
	}
	// What came in before the filter stood would keep its room.
	for {
		if _, _, err := unix.Recvfrom(fd, nil, unix.MSG_DONTWAIT); errors.Is(err, unix.EAGAIN) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// setBuffers makes room for packets on their way and, in a closed loop, for a
// whole window of replies. The kernel doubles what it is given.
func setBuffers(fd int, cfg Config) error {
	setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, cfg.SendBuffer/2)
	if cfg.Window == 0 {
		return nil
	}
	// The socket is charged for whole buffers (truesize): at most 1 KiB and
	// twice the packet.
	need := int64(cfg.Window) * int64(1024+2*cfg.Size)
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, int(min(need/2, math.MaxInt32/2)))
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return fmt.Errorf("flood: read SO_RCVBUF: %w", err)
	}
	if int64(got) < need {
		return fmt.Errorf("%w: Window %d needs a receive buffer of %d bytes and the kernel gives %d: lower Window or raise net.core.rmem_max",
			ErrConfig, cfg.Window, need, got)
	}
	return nil
}

// setBuffer sets a buffer size past the system's limit if it may, else up to
// it. Neither can fail in a way that matters: the size is read back.
func setBuffer(fd, force, option, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, size)
	}
}
