package ipq

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/goipq/goipq/internal/nfsock"
)

// Errors that callers compare with [errors.Is].
var (
	// ErrConfig is returned for a [Config] that makes no sense, with the field and
	// what it may be. Nothing has been opened then.
	ErrConfig = errors.New("ipq: bad config")
	// ErrClosed is returned by what was called after Close, or after Run has
	// ended.
	ErrClosed = os.ErrClosed
	// ErrRunning is returned by a second call to [Queue.Run].
	ErrRunning = errors.New("queue is running already")
	// ErrTimeout is returned by [Conn.Read] when its time is over. It matches
	// os.ErrDeadlineExceeded.
	ErrTimeout = fmt.Errorf("no packet in time: %w", os.ErrDeadlineExceeded)
	// ErrDecided, ErrExpired and ErrClosed are what a [Deferred] answers that
	// has its verdict: by an earlier one, by [Config.DeferTimeout] (or
	// [Config.HandlerTimeout]), or by the end of Run. [Packet.Defer] answers
	// ErrDecided once the handler has returned.
	ErrDecided = errors.New("packet is decided already")
	ErrExpired = errors.New("too late: the packet was decided when its time was over")
	// ErrDeferred is returned for a packet that has been deferred, to whoever
	// defers or edits it again: the copy is what counts.
	ErrDeferred = errors.New("packet is deferred already")
	// ErrTooManyDeferred is returned by [Packet.Defer] while
	// [Config.MaxDeferred] packets are deferred.
	ErrTooManyDeferred = errors.New("too many packets are deferred: decide some, or raise MaxDeferred")
	// ErrStuck is returned by [Queue.Run] when a handler, or the [Bypasser] of a
	// deferred packet, has not returned within [Config.DrainTimeout].
	ErrStuck = errors.New("a handler does not return; its packets were decided by OnTimeout")
	// ErrUnbound is returned by [Queue.Run] when the kernel says that the
	// queue is bound no more: another process that has the socket gave it up.
	ErrUnbound = errors.New("queue was unbound by somebody else")
	// ErrTruncated is returned by edits to a packet of which only a part was
	// copied: the kernel would cut the packet to the part.
	ErrTruncated = errors.New("packet is truncated: raise SnapLen to edit it")
	// ErrGSO is returned by edits to a packet that stands for many segments, if
	// they change its length: the kernel would go on cutting it up by its old
	// size. It is returned by all edits to one that is not of TCP directly in
	// IP, because nothing tells which checksums the kernel makes for its parts.
	ErrGSO = errors.New("packet is a GSO super-packet, whose length must stay: switch Config.GSO off to edit it in this way")
	// ErrChecksumPending is returned by edits to a packet whose sender leaves a
	// checksum inside of it to the network device, such as that of the packet
	// in a tunnel: an edit ends that, and where the checksum is cannot be told.
	// It needs [Config.GSO]; without, the kernel fills such checksums in.
	ErrChecksumPending = errors.New("packet has a checksum inside that is not filled in yet: switch Config.GSO off to edit it")
	// ErrUndeliverable is returned for a payload that the kernel, or every
	// receiver, would throw away without a word.
	ErrUndeliverable = errors.New("payload cannot be delivered in the packet's place")
	// ErrNoLabels is returned by [Packet.SetConnLabels] while the kernel gives
	// connections no labels.
	ErrNoLabels = errors.New("connections get no labels here: add a rule that sets some in this network namespace, such as nft's \"ct label set\"")
	// ErrTooLarge is returned for a payload that no verdict can carry.
	ErrTooLarge = errors.New("payload is too large for a verdict")
	// ErrUndecodable is returned by [Conn.Read] with a packet whose attributes
	// make no sense.
	ErrUndecodable = errors.New("message from the kernel cannot be decoded")
	// ErrNotIP is returned for a payload that is not an IPv4 or IPv6 packet,
	// so that its lengths and checksums cannot be made right.
	ErrNotIP = errors.New("payload is not an IP packet")
)

// OpError is the error of an operation on a queue. It unwraps to its cause:
// a sentinel of this package, a [TakenError], [CapabilityError], [FeatureError] or
// [ModuleError], or the kernel's errno as a [syscall.Errno].
type OpError struct {
	// Op is what was tried, one word: "open" a socket, "adopt" that of another
	// process, "bind" the queue, "configure" it, "pin" its loop to a CPU, "run",
	// "inherit", "receive" packets, give a "verdict", "drain" the queue, "end"
	// the run, "unbind" the queue, hand its "file" on, or replace its "handler".
	Op    string
	Queue uint16
	Err   error
}

// Error implements error.
func (e *OpError) Error() string {
	return fmt.Sprintf("ipq: queue %d: %s: %v", e.Queue, e.Op, e.Err)
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// Timeout reports whether the cause was a time-out.
func (e *OpError) Timeout() bool { return errors.Is(e.Err, os.ErrDeadlineExceeded) }

func opError(op string, queue uint16, err error) *OpError {
	return &OpError{Op: op, Queue: queue, Err: public(err)}
}

// public says by the errors of this package what the socket has found out.
func public(err error) error {
	r, ok := err.(*nfsock.Refusal)
	if !ok {
		return err
	}
	switch r.Cause {
	case nfsock.Taken:
		return &TakenError{PortID: r.PortID}
	case nfsock.NotPermitted:
		return &CapabilityError{Capability: "CAP_NET_ADMIN", Err: r.Errno}
	case nfsock.Unsupported:
		var missing []string
		for _, f := range configFlags {
			if r.Flags&f.flag != 0 {
				missing = append(missing, f.name)
			}
		}
		return &FeatureError{Features: missing, Err: r.Errno}
	}
	if r.Cause == nfsock.NoQueues {
		return &ModuleError{Module: "nfnetlink_queue", Err: r.Errno}
	}
	if r.Errno == 0 {
		return fmt.Errorf("the socket does not listen on it: %w", ErrUnbound)
	}
	return fmt.Errorf("%w: %w", ErrUnbound, r.Errno)
}

// TakenError says that another socket listens on the queue. A queue has one
// listener; the kernel answers a second with EPERM, or with EBUSY when it is
// the same socket. It matches [syscall.EBUSY].
type TakenError struct {
	// PortID is the netlink port id of the listener, usually its process id;
	// 0 when it could not be read, which is the case for users without rights
	// to /proc/net/netfilter/nfnetlink_queue.
	PortID uint32
}

// Error implements error.
func (e *TakenError) Error() string {
	who := "another socket"
	if e.PortID != 0 {
		who = fmt.Sprintf("port id %d (usually the process id)", e.PortID)
	}
	return "queue is taken by " + who + ": stop that program or choose another queue number"
}

// Is reports whether target is syscall.EBUSY.
func (e *TakenError) Is(target error) bool { return target == syscall.EBUSY }

// CapabilityError says that the caller may not use netfilter queues in the
// network namespace. It matches [fs.ErrPermission].
type CapabilityError struct {
	Capability string // "CAP_NET_ADMIN"
	Err        error  // what the kernel answered
}

// Error implements error.
func (e *CapabilityError) Error() string {
	return fmt.Sprintf("%v: no %s over this network namespace: run as root, give the program the capability "+
		"(setcap cap_net_admin+ep), or run it in a user and network namespace of its own (unshare -Urn)", e.Err, e.Capability)
}

// Unwrap returns the kernel's errno.
func (e *CapabilityError) Unwrap() error { return e.Err }

// Is reports whether target is fs.ErrPermission.
func (e *CapabilityError) Is(target error) bool { return target == fs.ErrPermission }

// FeatureError says that this kernel lacks something that the configuration
// asks for. It matches [errors.ErrUnsupported].
type FeatureError struct {
	Features []string // fields of Config: "Conntrack", "SecCtx", ...
	Err      error    // what the kernel answered
}

// Error implements error.
func (e *FeatureError) Error() string {
	var since []string
	for _, f := range configFlags {
		if slices.Contains(e.Features, f.name) {
			since = append(since, f.since)
		}
	}
	return fmt.Sprintf("%v: this kernel does not support %s on netfilter queues: leave it unset or use %s",
		e.Err, "Config."+strings.Join(e.Features, ", Config."), strings.Join(since, ", and "))
}

// Unwrap returns the kernel's errno.
func (e *FeatureError) Unwrap() error { return e.Err }

// Is reports whether target is errors.ErrUnsupported.
func (e *FeatureError) Is(target error) bool { return target == errors.ErrUnsupported }

// ModuleError says that the kernel has no queues, because one of its modules is not
// loaded. It matches [errors.ErrUnsupported].
type ModuleError struct {
	Module string // "nfnetlink_queue"
	Err    error  // what the kernel answered
}

// Error implements error.
func (e *ModuleError) Error() string {
	return fmt.Sprintf("%v: %s is not loaded: %s", e.Err, e.Module, moduleHint(e.Module))
}

// Unwrap returns the kernel's errno.
func (e *ModuleError) Unwrap() error { return e.Err }

// Is reports whether target is errors.ErrUnsupported.
func (e *ModuleError) Is(target error) bool { return target == errors.ErrUnsupported }

// VerdictError says that the kernel refused a verdict. [Conn.Read] returns
// it; a [Queue] counts it.
type VerdictError struct {
	ID    uint32        // of the packet
	Errno syscall.Errno // ENOENT: no such packet waits in the queue
}

// Error implements error.
func (e *VerdictError) Error() string {
	if e.Errno == syscall.ENOENT {
		return fmt.Sprintf("verdict on packet %d: no such packet is waiting: it was decided before, or dropped as the kernel flushed the queue", e.ID)
	}
	return fmt.Sprintf("verdict on packet %d: %v", e.ID, e.Errno)
}

// Unwrap returns the errno.
func (e *VerdictError) Unwrap() error { return e.Errno }

// A module is one of the kernel's.
type module struct {
	openWrt string // the package that has it there, where none comes unasked
	config  string // the option that it is built by
}

// modules are those that goipq and its rules take.
var modules = map[string]module{
	"nfnetlink_queue":  {"kmod-nfnetlink-queue", "CONFIG_NETFILTER_NETLINK_QUEUE"},
	"nft_queue":        {"kmod-nft-queue", "CONFIG_NFT_QUEUE"},
	"xt_NFQUEUE":       {"kmod-ipt-nfqueue", "CONFIG_NFT_COMPAT and CONFIG_NETFILTER_XT_TARGET_NFQUEUE"},
	"nft_ct":           {"kmod-nft-core", "CONFIG_NFT_CT"},
	"nf_tables_bridge": {"kmod-nft-bridge", "CONFIG_NF_TABLES_BRIDGE"},
}

// moduleHint says what to do if a module is not there.
func moduleHint(name string) string {
	m := modules[name]
	return fmt.Sprintf("modprobe %s; if there is no such module, install it (%s on OpenWrt, linux-modules-extra-$(uname -r) on Ubuntu, "+
		"kernel-modules-extra on Fedora and its kin), or use a kernel with %s", name, m.openWrt, m.config)
}
