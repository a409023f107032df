package nfsock

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// labelsTTL is how long an answer about labels is believed.
const labelsTTL = time.Second

// KeepsLabels reports whether connections that begin now in the socket's network
// namespace have labels, which is so while a rule sets labels. Where that cannot be
// found out, it reports true. An answer is believed for a second.
func (s *Socket) KeepsLabels() bool {
	a := s.labels.Load()
	if a == nil || time.Since(a.at) >= labelsTTL {
		b := &labelsAnswer{at: time.Now(), none: errors.Is(s.askLabels(), unix.ENOSPC)}
		s.labels.CompareAndSwap(a, b)
		a = b
	}
	return !a.none
}

// askLabels has a connection begin, changes none of its labels, and has it end. The
// kernel answers the change with ENOSPC if there are no labels
// (nf_connlabels_replace). It does not with the verdict on a queued packet: there it
// passes over what it cannot change (nfqnl_ct_parse).
//
// The connection is one of protocol 255, which IANA reserves, between addresses that
// no packet has, of which one is the socket's port id: no packet belongs to it, and no
// two sockets ask about the same one.
func (s *Socket) askLabels() (answer error) {
	err := s.visit(func() error {
		nl, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return err
		}
		defer nl.Close()
		here, there := [4]byte{0, 0, 0, 1}, [4]byte{}
		binary.BigEndian.PutUint32(there[:], s.PortID())
		ask := func(typ uint16, flags netlink.HeaderFlags, encode func(*netlink.AttributeEncoder)) error {
			ae := netlink.NewAttributeEncoder()
			ae.ByteOrder = binary.BigEndian
			ae.Nested(ctaTupleOrig, tuple(here, there))
			encode(ae)
			attrs, err := ae.Encode()
			if err != nil {
				return err
			}
			_, err = nl.Execute(netlink.Message{
				Header: netlink.Header{
					Type:  netlink.HeaderType(unix.NFNL_SUBSYS_CTNETLINK<<8 | typ),
					Flags: netlink.Request | netlink.Acknowledge | flags,
				},
				Data: append([]byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0}, attrs...),
			})
			return err
		}
		if err := ask(ctNew, netlink.Create|netlink.Excl, func(ae *netlink.AttributeEncoder) {
			ae.Nested(ctaTupleReply, tuple(there, here))
			ae.Uint32(ctaTimeout, 1) // in seconds, should this process end before
		}); err != nil {
			return err
		}
		answer = ask(ctNew, 0, func(ae *netlink.AttributeEncoder) {
			var none [16]byte
			ae.Bytes(ctaLabels, none[:])
			ae.Bytes(ctaLabelsMask, none[:])
		})
		return ask(ctDelete, 0, func(*netlink.AttributeEncoder) {})
	})
	return errors.Join(answer, err)
}

// Messages and attributes of ctnetlink (enum cntl_msg_types, ctattr_type and those
// below it).
const (
	ctNew    = 0 // IPCTNL_MSG_CT_NEW
	ctDelete = 2 // IPCTNL_MSG_CT_DELETE

	ctaTupleOrig  = 1  // CTA_TUPLE_ORIG
	ctaTupleReply = 2  // CTA_TUPLE_REPLY
	ctaTimeout    = 7  // CTA_TIMEOUT
	ctaLabels     = 22 // CTA_LABELS
	ctaLabelsMask = 23 // CTA_LABELS_MASK
)

// tuple encodes one direction of the connection.
func tuple(src, dst [4]byte) func(*netlink.AttributeEncoder) error {
	const (
		tupleIP, tupleProto = 1, 2 // CTA_TUPLE_IP, CTA_TUPLE_PROTO
		v4Src, v4Dst, num   = 1, 2, 1
		reserved            = 255
	)
	return func(ae *netlink.AttributeEncoder) error {
		ae.Nested(tupleIP, func(ae *netlink.AttributeEncoder) error {
			ae.Bytes(v4Src, src[:])
			ae.Bytes(v4Dst, dst[:])
			return nil
		})
		ae.Nested(tupleProto, func(ae *netlink.AttributeEncoder) error {
			ae.Uint8(num, reserved)
			return nil
		})
		return nil
	}
}
