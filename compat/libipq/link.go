//go:build linux && cgo

package main

import (
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/ipq"
)

// A link finds out what kinds of devices there are, which the kernel does not tell with
// a packet.
type link struct {
	sock  int            // to ask by; -1: there is none
	types map[int]uint16 // by the index of the device, which is never another's
}

func newLink() link {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		sock = -1
	}
	return link{sock: sock, types: map[int]uint16{}}
}

// typeOf returns the kind of the device that a packet came in by, such as ARPHRD_ETHER;
// 0 if there is none, or it is not known.
func (l *link) typeOf(p *ipq.Packet) uint16 {
	index := p.InDev()
	if index == 0 {
		return 0
	}
	if t, ok := l.types[index]; ok {
		return t
	}
	r, err := unix.NewIfreq(p.InterfaceName(index))
	if err != nil {
		return 0
	}
	if err := unix.IoctlIfreq(l.sock, unix.SIOCGIFHWADDR, r); err != nil {
		return 0
	}
	l.types[index] = r.Uint16() // the family of the address
	return l.types[index]
}

func (l *link) close() {
	if l.sock >= 0 {
		unix.Close(l.sock)
	}
}
