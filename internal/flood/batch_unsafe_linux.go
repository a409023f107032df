package flood

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is the kernel's struct mmsghdr; Go pads its end as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// A batch is the preallocated memory of one sendmmsg or recvmmsg: n slots of
// size bytes and the headers that point to them.
type batch struct {
	msgs []mmsghdr
	iovs []unix.Iovec
	// Where each slot goes, over IPv4 or IPv6.
	inet  []unix.RawSockaddrInet4
	inet6 []unix.RawSockaddrInet6
	buf   []byte
	size  int
	// What comes beside each packet, if that is wanted.
	ctl     []byte
	ctlSize int
}

func newBatch(n, size int) *batch {
	b := &batch{
		msgs: make([]mmsghdr, n),
		iovs: make([]unix.Iovec, n),
		buf:  make([]byte, n*size),
		size: size,
	}
	for i := range b.msgs {
		b.iovs[i].Base = &b.buf[i*size]
		b.iovs[i].SetLen(size)
		b.msgs[i].hdr.Iov = &b.iovs[i]
		b.msgs[i].hdr.SetIovlen(1)
	}
	return b
}

// addControl makes room for size bytes of control messages beside each slot.
func (b *batch) addControl(size int) {
	b.ctl, b.ctlSize = make([]byte, len(b.msgs)*size), size
	for i := range b.msgs {
		b.msgs[i].hdr.Control = &b.ctl[i*size]
	}
}

// control are the control messages that came with slot i.
func (b *batch) control(i int) []byte {
	return b.ctl[i*b.ctlSize : i*b.ctlSize+int(b.msgs[i].hdr.Controllen)]
}

// sendTo sends every slot to an address and port, in network order.
func (b *batch) sendTo(addr netip.Addr, port uint16) {
	if addr.Is6() {
		b.inet6 = make([]unix.RawSockaddrInet6, len(b.msgs))
		for i := range b.msgs {
			b.inet6[i] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr.As16(), Port: port}
			b.msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&b.inet6[i]))
			b.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		}
		return
	}
	b.inet = make([]unix.RawSockaddrInet4, len(b.msgs))
	for i := range b.msgs {
		b.inet[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr.As4(), Port: port}
		b.msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&b.inet[i]))
		b.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet4
	}
}

// setHost sets the last 16 bits of the address that slot i goes to.
func (b *batch) setHost(i int, host uint16) {
	if b.inet != nil {
		binary.BigEndian.PutUint16(b.inet[i].Addr[2:], host)
	} else {
		binary.BigEndian.PutUint16(b.inet6[i].Addr[14:], host)
	}
}

// setLen makes slot i send its first n bytes.
func (b *batch) setLen(i, n int) { b.iovs[i].SetLen(n) }

// slot is the memory of slot i.
func (b *batch) slot(i int) []byte { return b.buf[i*b.size : (i+1)*b.size] }

// received is the part of slot i that recvmmsg filled.
func (b *batch) received(i int) []byte {
	return b.buf[i*b.size : i*b.size+min(int(b.msgs[i].len), b.size)]
}

// send sends slots from to below to without blocking and returns how many the
// kernel took. Neither this nor receive can sleep, so neither tells the Go
// scheduler, which would cost some 3 % of the rate.
func (b *batch) send(fd, from, to int) (int, error) {
	return b.call(unix.SYS_SENDMMSG, fd, b.msgs[from:to])
}

// receive fills slots from 0 on without blocking and returns how many.
func (b *batch) receive(fd int) (int, error) {
	if b.ctl != nil {
		for i := range b.msgs { // the kernel has written how much it used
			b.msgs[i].hdr.SetControllen(b.ctlSize)
		}
	}
	return b.call(unix.SYS_RECVMMSG, fd, b.msgs)
}

func (b *batch) call(trap uintptr, fd int, msgs []mmsghdr) (int, error) {
	n, _, errno := syscall.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])),
		uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
