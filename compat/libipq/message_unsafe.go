//go:build linux && cgo

package main

// #include "internal.h"
import "C"

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/ipq"
)

// A mode is how much of a packet a handle wants.
type mode struct {
	copies int // copyNone and so on
	most   int // bytes of payload
}

const (
	copyNone   = C.IPQ_COPY_NONE
	copyPacket = C.IPQ_COPY_PACKET
)

// bytesOf returns the bytes of what v points to, whose layout is C's.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

func appendHeader(b []byte, typ uint16, length int) []byte {
	h := unix.NlMsghdr{Len: uint32(unix.SizeofNlMsghdr + length), Type: typ}
	return append(b, bytesOf(&h)...)
}

// appendPacket appends a packet as ipq_get_packet finds it.
func (q *queue) appendPacket(b []byte, p *ipq.Packet, m mode) []byte {
	payload := p.Payload()
	if m.copies != copyPacket {
		payload = nil
	}
	payload = payload[:min(len(payload), m.most)]

	var c C.ipq_packet_msg_t
	c.packet_id = C.ulong(p.ID())
	c.mark = C.ulong(p.Mark())
	if t := p.Timestamp(); !t.IsZero() {
		c.timestamp_sec = C.long(t.Unix())
		c.timestamp_usec = C.long(t.Nanosecond() / 1000)
	}
	c.hook = C.uint(p.Hook())
	copy(bytesOf(&c.indev_name), p.InterfaceName(p.InDev()))
	copy(bytesOf(&c.outdev_name), p.InterfaceName(p.OutDev()))
	ethertype := p.EtherType()
	copy(bytesOf(&c.hw_protocol), []byte{byte(ethertype >> 8), byte(ethertype)})
	c.hw_type = C.ushort(q.link.typeOf(p))
	c.hw_addrlen = C.uchar(copy(bytesOf(&c.hw_addr), p.HardwareAddr()))
	c.data_len = C.size_t(len(payload))

	b = appendHeader(b, C.IPQM_PACKET, int(unsafe.Sizeof(c))+len(payload))
	b = append(b, bytesOf(&c)...)
	return append(b, payload...)
}

// appendError appends a message for ipq_get_msgerr.
func appendError(b []byte, number syscall.Errno) []byte {
	e := unix.NlMsgerr{Error: -int32(number)}
	return append(appendHeader(b, unix.NLMSG_ERROR, int(unsafe.Sizeof(e))), bytesOf(&e)...)
}
