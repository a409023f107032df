package bypass

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Defaults that the zero [Config] and [Limits] stand for.
const (
	DefaultSize    = 1 << 16
	DefaultTimeout = 5 * time.Minute
	DefaultIdle    = 30 * time.Second
	// DefaultAcceptMark and DefaultDropMark are the bits of the packet mark and
	// the connection mark that [ConnMark] and, of the packet mark only,
	// [NFTSet] use.
	DefaultAcceptMark = 1 << 29
	DefaultDropMark   = 1 << 30
)

// maxSize bounds [Config.Size]: 2^26 flows take some 14 GB of kernel memory.
const maxSize = 1 << 26

// minLease is the shortest [Config.Lease]. It is renewed four times within its
// length, and a program that is merely slow should not lose it.
const minLease = 100 * time.Millisecond

// A Backend is the means by which the kernel decides settled flows.
type Backend uint8

const (
	// Auto is [EBPF] where the kernel and the caller's privileges allow it, else
	// [ConnMark] unless the configuration needs EBPF. What was chosen, and why,
	// goes to [Config.Logger].
	Auto Backend = iota
	// EBPF is a flow table in the kernel that programs consult before the queue
	// rule: everything that this package describes. It needs Linux 5.10 with
	// CONFIG_BPF_SYSCALL and CONFIG_NETFILTER_XT_MATCH_BPF, and CAP_BPF with
	// CAP_NET_ADMIN, or CAP_SYS_ADMIN, in the initial user namespace.
	EBPF
	// ConnMark is a mark on the kernel's connection tracking entry, which rules
	// check before the queue rule. It works in user namespaces and on old
	// kernels, but for tracked packets only, and it knows neither time-outs nor
	// budgets nor a table: a flow stays settled as long as conntrack has it.
	ConnMark
	// NFTSet is sets of nftables' own, which rules look packets up in before the
	// queue rule, and which packets that the verdict marks add their flow to. It
	// works in user namespaces, from Linux 5.10 on, and needs neither eBPF nor
	// connection tracking; see the package's documentation for what it cannot do.
	// Auto does not choose it.
	NFTSet
)

// String returns the name of the constant.
func (b Backend) String() string {
	switch b {
	case Auto:
		return "auto"
	case EBPF:
		return "eBPF"
	case ConnMark:
		return "connection mark"
	case NFTSet:
		return "nft sets"
	}
	return fmt.Sprintf("backend %d", uint8(b))
}

// Limits say for how long a flow stays settled. Past the first that it reaches,
// its packets are queued again, and the handler may settle it anew.
//
// The kernel keeps the time, to within a tick of its clock (at most 10 ms). That
// clock is CLOCK_MONOTONIC of the initial time namespace. [New] asks the kernel
// for it, so that limits and leases are the same for a process in another time
// namespace. It goes on while a process is stopped, and stands still while the
// machine sleeps. A process that was restored from a checkpoint may have another
// offset to it: make the Bypasser anew there.
type Limits struct {
	// Timeout is the time from settling on; 0 means DefaultTimeout, negative no
	// limit.
	Timeout time.Duration
	// Idle is the time without a packet in either direction; 0 means
	// DefaultIdle, negative no limit. It should be shorter than the time after
	// which hosts use ports again, except for TCP, see the package's
	// documentation.
	Idle time.Duration
	// MaxPackets and MaxBytes (from the IP header on) are the budget: how much
	// the kernel decides by itself; 0 means no limit. The packet with which a
	// flow comes to MaxBytes passes whole, so that it is exceeded by up to one
	// packet less a byte. Packets that several CPUs handle at the same moment
	// may exceed both, by one for each further CPU. A GSO super-packet, of 64 KiB
	// or more, counts as one packet.
	//
	// Packets that wait in the queue already when their flow is settled come to
	// the handler all the same. Each that settles the flow anew renews its
	// budget, as it does its Timeout: the kernel may then decide as much again
	// between one of them and the next.
	MaxPackets, MaxBytes uint64
}

// Config configures a [Bypasser]. The zero value is useful.
type Config struct {
	// Size is how many flows the table holds; 0 means DefaultSize. All the
	// memory (some 220 bytes a flow) is allocated by [New]. When the table is
	// full, the flows that were used least recently make room, approximately,
	// and are queued again.
	Size int
	// Limits apply to flows that [ipq.Verdict.Bypass] settles.
	Limits Limits

	// Lease says what becomes of settled flows when the program ends, however it
	// does, and while its rules stay. With 0 the kernel goes on deciding them,
	// until their Limits. Otherwise the table as a whole is valid for so long
	// only, and the Bypasser renews that four times as often; so a crash, or a
	// stopped process, leaves every packet to the queue rule, which drops it or,
	// with its bypass flag, lets it go on. At least 100 ms. [Bypasser.Close]
	// ends a lease at once.
	Lease time.Duration

	// Backend chooses the means.
	Backend Backend
	// AcceptMark and DropMark are bits of the mark that nothing else uses, for
	// [ConnMark] and [NFTSet]; 0 means DefaultAcceptMark and DefaultDropMark.
	AcceptMark, DropMark uint32

	// PinDir is a directory below a BPF file system (/sys/fs/bpf) in which the
	// programs and maps are pinned, for rules that are not ours: see
	// [Bypasser.Lines]. What a former process has pinned there is taken over,
	// with all its flows, so that rules which refer to it stay good; Size must
	// then be the same. Close leaves it; see [Bypasser.Unpin].
	PinDir string

	// NetNS is a descriptor of the network namespace that [Bypasser.Install]
	// works in, such as that of an open /proc/PID/ns/net; 0 means the caller's.
	// What is not open, or is something else, is an error. New duplicates it at
	// once; the Bypasser keeps the duplicate until Close, and each [Ruleset] one
	// until its table is removed. Until New is called somebody must keep the file
	// open, for which the number alone does nothing:
	//
	//	b, err := bypass.New(bypass.Config{NetNS: int(f.Fd())})
	//	runtime.KeepAlive(f) // or f.Close(), which is due anyway
	NetNS int
	// Logger takes notes of what was chosen and of a lease that cannot be
	// renewed; nil means none.
	Logger *slog.Logger
}

// withDefaults returns c with its zero values replaced, or an error that
// matches ErrConfig.
func (c Config) withDefaults() (Config, error) {
	if c.Size == 0 {
		c.Size = DefaultSize
	}
	if c.AcceptMark == 0 {
		c.AcceptMark = DefaultAcceptMark
	}
	if c.DropMark == 0 {
		c.DropMark = DefaultDropMark
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Size < 1 || c.Size > maxSize:
		return c, fmt.Errorf("%w: Size is %d, want 1 to %d", ErrConfig, c.Size, maxSize)
	case c.Lease != 0 && c.Lease < minLease:
		return c, fmt.Errorf("%w: Lease is %v, want 0 or at least %v", ErrConfig, c.Lease, minLease)
	case c.AcceptMark&c.DropMark != 0:
		return c, fmt.Errorf("%w: AcceptMark %#x and DropMark %#x share bits", ErrConfig, c.AcceptMark, c.DropMark)
	case c.Backend > NFTSet:
		return c, fmt.Errorf("%w: there is no %v", ErrConfig, c.Backend)
	}
	if err := c.marksCan(); c.Backend == ConnMark && err != nil {
		return c, err
	}
	if c.Backend == NFTSet {
		return c, c.setsCan()
	}
	return c, nil
}

// minLimit is the shortest of [Limits] with [NFTSet], that of the kernel's ticks.
const minLimit = 10 * time.Millisecond

// setsCan returns an error if the configuration asks for what sets cannot do.
func (c Config) setsCan() error {
	for _, f := range []struct {
		name   string
		asked  bool
		reason string
	}{
		{"Config.Limits.MaxPackets", c.Limits.MaxPackets != 0, "sets have no budgets"},
		{"Config.Limits.MaxBytes", c.Limits.MaxBytes != 0, "sets have no budgets"},
		{"Config.Lease", c.Lease != 0, "what is in sets does not end with a program"},
		{"Config.PinDir", c.PinDir != "", "there are no programs to pin"},
	} {
		if f.asked {
			return &FieldError{f.name, NFTSet, f.reason}
		}
	}
	for _, limit := range []time.Duration{c.Limits.Timeout, c.Limits.Idle} {
		if limit > 0 && limit < minLimit {
			return fmt.Errorf("%w: Limits: %v is shorter than %v, the least that sets know", ErrConfig, limit, minLimit)
		}
	}
	return nil
}

// ofSets returns the limits as sets have them: 0 is none.
func (l Limits) ofSets() (timeout, idle time.Duration) {
	timeout, idle = max(orDefault(l.Timeout, DefaultTimeout), 0), max(orDefault(l.Idle, DefaultIdle), 0)
	if timeout > 0 && idle >= timeout {
		idle = 0 // the other one is always sooner
	}
	return timeout, idle
}

// marksCan returns an error if the configuration asks for what connection marks
// cannot do.
func (c Config) marksCan() error {
	switch {
	case c.Limits.MaxPackets != 0 || c.Limits.MaxBytes != 0:
		return fmt.Errorf("%w: Limits.MaxPackets and MaxBytes", errNeedsEBPF)
	case c.Lease != 0:
		return fmt.Errorf("%w: Lease", errNeedsEBPF)
	case c.PinDir != "":
		return fmt.Errorf("%w: PinDir", errNeedsEBPF)
	}
	return nil
}

// state returns a new state of a flow, as of now on the kernel's clock.
func (l Limits) state(key *kernelFlowKey, action, now uint64) kernelFlowState {
	s := kernelFlowState{
		Key: *key, Deadline: math.MaxUint64, Idle: math.MaxInt64,
		MaxPackets: l.MaxPackets, MaxBytes: l.MaxBytes,
		LastSeen: now, Action: action,
	}
	if timeout := orDefault(l.Timeout, DefaultTimeout); timeout > 0 {
		s.Deadline = now + uint64(timeout)
	}
	if idle := orDefault(l.Idle, DefaultIdle); idle > 0 {
		s.Idle = uint64(idle)
	}
	if s.MaxPackets == 0 {
		s.MaxPackets = math.MaxUint64
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = math.MaxUint64
	}
	return s
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

var errNeedsEBPF = fmt.Errorf("connection marks have no such thing: %w", errors.ErrUnsupported)
