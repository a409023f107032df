package nfqueue

import (
	"errors"
	"time"
)

// An Attribute is a packet, as far as the kernel tells of it: what it does not tell is nil.
type Attribute struct {
	PacketID   *uint32    // number of the packet in its queue, for SetVerdict
	Hook       *uint8     // where it was queued: NF_INET_PRE_ROUTING and so on
	Timestamp  *time.Time // when it came in, if somebody has the kernel take the time
	Mark       *uint32    // packet mark, nil for 0
	InDev      *uint32    // index of the interface that it came in by
	PhysInDev  *uint32    // index of the bridge's port that it came in by
	OutDev     *uint32    // index of the interface that it goes out by
	PhysOutDev *uint32    // index of the bridge's port that it goes out by
	Payload    *[]byte    // the packet from its network header on, nil with NfQnlCopyMeta
	CapLen     *uint32    // the packet's true length, if Payload is only a part
	UID        *uint32    // user that owns the sending socket, with NfQaCfgFlagUIDGid
	GID        *uint32    // group that owns the sending socket, with NfQaCfgFlagUIDGid
	SecCtx     *string    // security context of the sending socket, with NfQaCfgFlagSecCx
	L2Hdr      *[]byte    // link-layer header, of bridged packets
	HwAddr     *[]byte    // link-layer address of the sender
	HwProtocol *uint16    // EtherType
	Ct         *[]byte    // connection, as attributes CTA_*, with NfQaCfgFlagConntrack
	CtInfo     *uint32    // enum ip_conntrack_info, with NfQaCfgFlagConntrack
	SkbInfo    *[]byte    // NFQA_SKB_* bits, 32 of them in network order
	Exp        *[]byte    // always nil: the kernel sends no expectations
	SkbPrio    *uint32    // queueing priority, nil for 0
}

// A HookFunc is called for each packet, one after the other. Anything but 0 ends the
// registration. The packet is decided by its id, in the hook or at any time later.
type HookFunc func(a Attribute) int

// An ErrorFunc is called for errors of receiving, and for what the kernel refuses, with a
// *netlink.OpError. Anything but 0 ends the registration.
type ErrorFunc func(e error) int

// A Logger is told what has no other way out.
type Logger interface {
	Debugf(format string, args ...interface{})
	Errorf(format string, args ...interface{})
}

// A Config configures a Nfqueue.
type Config struct {
	// NetNS is a descriptor of the network namespace; 0 means the caller's.
	NetNS int
	// NfQueue is the number of the queue.
	NfQueue uint16
	// MaxQueueLen is how many packets the kernel may hold; 0 means 1024. The kernel can
	// hold 65536, and more than that means so.
	MaxQueueLen uint32
	// MaxPacketLen is how many bytes of a packet are copied, with NfQnlCopyPacket; 0 means
	// all.
	MaxPacketLen uint32
	// Copymode is NfQnlCopyNone, with which the kernel queues nothing, NfQnlCopyMeta or
	// NfQnlCopyPacket.
	Copymode uint8
	// Flags are NfQaCfgFlag*.
	Flags uint32
	// AfFamily has been without effect since Linux 3.8.
	AfFamily uint8
	// ReadTimeout is without effect.
	//
	// Deprecated: end the context that the hook was registered with.
	ReadTimeout time.Duration
	// WriteTimeout is without effect: no verdict waits to be written.
	WriteTimeout time.Duration
	// Logger may be nil.
	Logger Logger
}

// Errors that callers compare.
var (
	ErrRecvMsg        = errors.New("received error message")
	ErrUnexpMsg       = errors.New("received unexpected message from kernel")
	ErrInvFlag        = errors.New("invalid Flag")
	ErrNotLinux       = errors.New("not implemented for OS other than linux")
	ErrInvalidVerdict = errors.New("invalid verdict")
)

// Flags of a queue (NFQA_CFG_F_*).
const (
	NfQaCfgFlagFailOpen  = 1 << iota // packets that do not fit into the queue pass
	NfQaCfgFlagConntrack             // packets come with their connections
	NfQaCfgFlagGSO                   // super-packets are not cut into segments
	NfQaCfgFlagUIDGid                // packets come with the owner of their socket
	NfQaCfgFlagSecCx                 // packets come with the security context of their socket

	allFlags = 1<<iota - 1
)

// Copy modes.
const (
	NfQnlCopyNone   = iota // nothing is queued, and so dropped
	NfQnlCopyMeta          // attributes only
	NfQnlCopyPacket        // attributes and the packet
)

// Verdicts.
const (
	NfDrop   = iota
	NfAccept // the packet goes on at the next hook function
	NfStolen // refused by the kernel, and so here
	NfQeueue // the packet goes to queue 0
	NfRepeat // the packet runs through the hook again
)
