package flood

import (
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
	inet []unix.RawSockaddrInet4 // where each slot goes, over IPv4
	buf  []byte
	size int
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

// sendToInet gives each slot an IPv4 destination of its own, set later by dest.
func (b *batch) sendToInet() {
	b.inet = make([]unix.RawSockaddrInet4, len(b.msgs))
	for i := range b.msgs {
		b.inet[i].Family = unix.AF_INET
		b.msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&b.inet[i]))
		b.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet4
	}
}

// sendToLoopback6 sends every slot to ::1.
func (b *batch) sendToLoopback6() {
	to := &unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: [16]byte{15: 1}}
	for i := range b.msgs {
		b.msgs[i].hdr.Name = (*byte)(unsafe.Pointer(to))
		b.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
}

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
