// Package nfqueue stands in for github.com/florianl/go-nfqueue, version 1, as
// github.com/goipq/goipq/compat/go-nfqueue/v2 does for version 2, by one line in go.mod:
//
//	replace github.com/florianl/go-nfqueue => github.com/goipq/goipq/compat/go-nfqueue v1.3.2
//
// Every exported name is that of version 1.3.2 and means the same; it is built on the
// other, whose documentation says what is better and what is different. A MaxQueueLen of 0
// means 1024 here, too, where version 1 had the kernel queue nothing.
package nfqueue

import (
	"context"
	"log"
	"time"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/compat/go-nfqueue/v2"
)

type (
	// An Attribute is a packet, as far as the kernel tells of it.
	Attribute = nfqueue.Attribute
	// A HookFunc is called for each packet. Anything but 0 ends the registration.
	HookFunc = nfqueue.HookFunc
	// An ErrorFunc is called for errors. Anything but 0 ends the registration.
	ErrorFunc = nfqueue.ErrorFunc
)

// A Config configures a Nfqueue, as that of version 2 does, but for its Logger.
type Config struct {
	// NetNS is a descriptor of the network namespace; 0 means the caller's.
	NetNS int
	// NfQueue is the number of the queue.
	NfQueue uint16
	// MaxQueueLen is how many packets the kernel may hold; 0 means 1024.
	MaxQueueLen uint32
	// MaxPacketLen is how many bytes of a packet are copied; 0 means all.
	MaxPacketLen uint32
	// Copymode is one of NfQnlCopy*.
	Copymode uint8
	// Flags are NfQaCfgFlag*.
	Flags uint32
	// AfFamily is without effect.
	AfFamily uint8
	// ReadTimeout is without effect.
	//
	// Deprecated: end the context that the hook was registered with.
	ReadTimeout time.Duration
	// WriteTimeout is without effect.
	WriteTimeout time.Duration
	// Logger is told what has no other way out, unless it is nil.
	Logger *log.Logger
}

// Errors that callers compare.
var (
	ErrRecvMsg        = nfqueue.ErrRecvMsg
	ErrUnexpMsg       = nfqueue.ErrUnexpMsg
	ErrInvFlag        = nfqueue.ErrInvFlag
	ErrNotLinux       = nfqueue.ErrNotLinux
	ErrInvalidVerdict = nfqueue.ErrInvalidVerdict
)

// Flags of a queue.
const (
	NfQaCfgFlagFailOpen  = nfqueue.NfQaCfgFlagFailOpen
	NfQaCfgFlagConntrack = nfqueue.NfQaCfgFlagConntrack
	NfQaCfgFlagGSO       = nfqueue.NfQaCfgFlagGSO
	NfQaCfgFlagUIDGid    = nfqueue.NfQaCfgFlagUIDGid
	NfQaCfgFlagSecCx     = nfqueue.NfQaCfgFlagSecCx
)

// Copy modes.
const (
	NfQnlCopyNone   = nfqueue.NfQnlCopyNone
	NfQnlCopyMeta   = nfqueue.NfQnlCopyMeta
	NfQnlCopyPacket = nfqueue.NfQnlCopyPacket
)

// Verdicts.
const (
	NfDrop   = nfqueue.NfDrop
	NfAccept = nfqueue.NfAccept
	NfStolen = nfqueue.NfStolen
	NfQeueue = nfqueue.NfQeueue
	NfRepeat = nfqueue.NfRepeat
)

// A Nfqueue is one queue.
type Nfqueue struct {
	// Con is the netlink socket. While a hook is registered it does not receive packets.
	Con *netlink.Conn

	two *nfqueue.Nfqueue
}

// Open makes a socket for the queue. The queue is bound when a hook is registered.
func Open(config *Config) (*Nfqueue, error) {
	c := &nfqueue.Config{
		NetNS: config.NetNS, NfQueue: config.NfQueue, MaxQueueLen: config.MaxQueueLen, MaxPacketLen: config.MaxPacketLen,
		Copymode: config.Copymode, Flags: config.Flags,
	}
	if config.Logger != nil {
		c.Logger = logger{config.Logger}
	}
	two, err := nfqueue.Open(c)
	if err != nil {
		return nil, err
	}
	return &Nfqueue{Con: two.Con, two: two}, nil
}

// logger is the Logger of version 1, which knows of errors only.
type logger struct{ l *log.Logger }

func (logger) Debugf(string, ...any) {}

func (l logger) Errorf(format string, args ...any) { l.l.Printf(format, args...) }

// Close ends what is registered, and closes the socket.
func (n *Nfqueue) Close() error { return n.two.Close() }

// SetOption sets an option of the socket.
func (n *Nfqueue) SetOption(o netlink.ConnOption, enable bool) error {
	return n.two.SetOption(o, enable)
}

// Register is RegisterWithErrorFunc that ends at the first error which is more than a
// time-out.
//
// Deprecated: use RegisterWithErrorFunc.
func (n *Nfqueue) Register(ctx context.Context, fn HookFunc) error { return n.two.Register(ctx, fn) }

// RegisterWithErrorFunc binds the queue, and has fn called for its packets until ctx ends,
// fn or errfn returns anything but 0, or Close is called.
func (n *Nfqueue) RegisterWithErrorFunc(ctx context.Context, fn HookFunc, errfn ErrorFunc) error {
	return n.two.RegisterWithErrorFunc(ctx, fn, errfn)
}

// SetVerdict decides the packet with that id, from any goroutine.
func (n *Nfqueue) SetVerdict(id uint32, verdict int) error { return n.two.SetVerdict(id, verdict) }

// SetVerdictBatch decides all packets up to the one with that id.
func (n *Nfqueue) SetVerdictBatch(id uint32, verdict int) error {
	return n.two.SetVerdictBatch(id, verdict)
}

// SetVerdictWithMark sets the packet's mark, too.
func (n *Nfqueue) SetVerdictWithMark(id uint32, verdict, mark int) error {
	return n.two.SetVerdictWithOption(id, verdict, nfqueue.WithMark(uint32(mark)))
}

// SetVerdictWithConnMark sets the mark of the connection, too.
func (n *Nfqueue) SetVerdictWithConnMark(id uint32, verdict, mark int) error {
	return n.two.SetVerdictWithOption(id, verdict, nfqueue.WithConnMark(uint32(mark)))
}

// SetVerdictModPacket replaces the packet, too.
func (n *Nfqueue) SetVerdictModPacket(id uint32, verdict int, packet []byte) error {
	return n.two.SetVerdictWithOption(id, verdict, nfqueue.WithAlteredPacket(packet))
}

// SetVerdictModPacketWithMark replaces the packet and sets its mark, too.
func (n *Nfqueue) SetVerdictModPacketWithMark(id uint32, verdict, mark int, packet []byte) error {
	return n.two.SetVerdictWithOption(id, verdict, nfqueue.WithAlteredPacket(packet), nfqueue.WithMark(uint32(mark)))
}

// SetVerdictModPacketWithConnMark replaces the packet and sets the mark of the connection,
// too.
func (n *Nfqueue) SetVerdictModPacketWithConnMark(id uint32, verdict, mark int, packet []byte) error {
	return n.two.SetVerdictWithOption(id, verdict, nfqueue.WithAlteredPacket(packet), nfqueue.WithConnMark(uint32(mark)))
}
