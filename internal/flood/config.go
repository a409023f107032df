package flood

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"
)

// Config describes a flood of packets. The zero value sends IPv4 echo requests
// of 64 bytes over 256 flows, as fast as possible, until it is stopped.
type Config struct {
	IPv6  bool    // to ::1 instead of 127.1.0.0/16
	UDP   bool    // datagrams to UDPPort instead of echo requests
	Flows int     // distinct flows, at most 65536; 0 means 256
	Size  int     // bytes of each packet from the IP header on; 0 means 64; at least 36 over IPv4, 56 over IPv6, at most 65535
	Rate  float64 // packets per second, open loop; 0 means as fast as possible
	Count uint64  // end after so many requests; 0 means run until stopped
	Burst int     // packets per sendmmsg, at most 1024; 0 means 32
	CPUs  []int   // CPUs that the sending process may use; empty means all

	// Sizes, if there are any, take turns: packet n has Sizes[n mod len(Sizes)]
	// bytes. They exclude Size.
	Sizes []int
	// To is where the packets go: flow i to the address i behind the first of
	// the prefix, which has at least 16 bits for it. The zero Prefix is
	// 127.1.0.0/16 or, for all flows, ::1.
	To netip.Prefix

	// CatchUp is how much of its schedule a paced flood that is late makes up
	// for, in a burst; what was due before that is not sent, and counted as
	// Refused. 0 means all of it.
	CatchUp time.Duration

	// Timed has each datagram of a paced flood carry when it was due, for a
	// Receiver. It needs UDP, a Rate, and 8 bytes more of each packet.
	Timed bool

	// SendBuffer is the size of the socket's send buffer in bytes, as the kernel
	// counts it: 832 or 896 for the smallest packet. Packets that wait in a queue
	// stay charged to it, and the sender waits when it is full. 0 means as much
	// as any queue holds, so that a queue fills before the buffer does.
	SendBuffer int

	// Window makes the flood a closed loop with at most so many requests
	// unanswered, at most 65536; 0 means open loop. It excludes Rate.
	Window int
	// Timeout is how long a closed loop waits for a reply; 0 means 2 s.
	Timeout time.Duration
}

// Errors that Start returns, wrapped.
var (
	// ErrConfig reports a Config that no flood can follow.
	ErrConfig = errors.New("flood: bad config")
	// ErrNotPrivate reports that Start was called outside a private network
	// namespace.
	ErrNotPrivate = errors.New("flood: not in a private network namespace")
)

const (
	defaultFlows   = 256
	defaultSize    = 64
	defaultTimeout = 2 * time.Second
	// Measured with nothing queued: 8 packets a sendmmsg reach 217,000/s, 16
	// reach 222,000, and 32, 64 and 128 all 225,000.
	defaultBurst = 32
	// Holds a full kernel queue (65536, its hard cap) of small packets at 896
	// bytes each: 58.7 MB.
	defaultSendBuffer = 64 << 20

	maxFlows  = 1 << 16 // the ICMP identifier has 16 bits
	flowBits  = 16      // those of an address that tell flows apart
	maxSize   = 1<<16 - 1
	maxBurst  = 1024 // UIO_MAXIOV: sendmmsg takes no more
	maxWindow = 1 << 16
	maxCPUs   = 1024 // CPU_SETSIZE
	// Below a nanosecond between two packets the schedule has no resolution.
	maxRate = 1e9
)

// withDefaults returns c with its zero values replaced, or an error that wraps
// ErrConfig.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Flows, defaultFlows)
	if len(c.Sizes) > 0 {
		if c.Size != 0 {
			return c, fmt.Errorf("%w: Size and Sizes exclude each other", ErrConfig)
		}
		c.Size = slices.Max(c.Sizes)
	}
	setDefault(&c.Size, defaultSize)
	if len(c.Sizes) == 0 {
		c.Sizes = []int{c.Size}
	}
	setDefault(&c.Burst, defaultBurst)
	setDefault(&c.SendBuffer, defaultSendBuffer)
	setDefault(&c.Timeout, defaultTimeout)

	minSize := c.headerLen() + echoLen
	if c.Timed {
		minSize += timeLen
	}
	if least := slices.Min(c.Sizes); least < minSize {
		return c, fmt.Errorf("%w: Size is %d, want %d to %d", ErrConfig, least, minSize, maxSize)
	}
	switch {
	case c.Flows < 1 || c.Flows > maxFlows:
		return c, fmt.Errorf("%w: Flows is %d, want 1 to %d", ErrConfig, c.Flows, maxFlows)
	case c.Size > maxSize:
		return c, fmt.Errorf("%w: Size is %d, want %d to %d", ErrConfig, c.Size, minSize, maxSize)
	case c.Burst < 1 || c.Burst > maxBurst:
		return c, fmt.Errorf("%w: Burst is %d, want 1 to %d", ErrConfig, c.Burst, maxBurst)
	case c.SendBuffer < 0 || c.SendBuffer > math.MaxInt32:
		return c, fmt.Errorf("%w: SendBuffer is %d, want 0 to %d", ErrConfig, c.SendBuffer, math.MaxInt32)
	case c.Window < 0 || c.Window > maxWindow:
		return c, fmt.Errorf("%w: Window is %d, want 0 to %d", ErrConfig, c.Window, maxWindow)
	case math.IsNaN(c.Rate) || c.Rate < 0 || c.Rate > maxRate:
		return c, fmt.Errorf("%w: Rate is %g, want 0 to %g packets per second", ErrConfig, c.Rate, float64(maxRate))
	case c.UDP && c.Window > 0:
		return c, fmt.Errorf("%w: nobody answers UDP, so it excludes Window", ErrConfig)
	case c.To.IsValid() && (c.To.Addr().Is4() == c.IPv6 || c.To.Addr().BitLen()-c.To.Bits() < flowBits):
		return c, fmt.Errorf("%w: To is %v, want a prefix of the family with %d bits for the flow", ErrConfig, c.To, flowBits)
	case c.Rate > 0 && c.Window > 0:
		return c, fmt.Errorf("%w: Rate and Window exclude each other", ErrConfig)
	case c.CatchUp < 0:
		return c, fmt.Errorf("%w: CatchUp is %v, want 0 or more", ErrConfig, c.CatchUp)
	case c.Timed && !(c.UDP && c.Rate > 0):
		return c, fmt.Errorf("%w: Timed needs UDP and a Rate", ErrConfig)
	case c.Timeout < 0:
		return c, fmt.Errorf("%w: Timeout is %v, want 0 or more", ErrConfig, c.Timeout)
	case c.Count > maxSequence:
		return c, fmt.Errorf("%w: Count is %d, want at most %d", ErrConfig, c.Count, uint64(maxSequence))
	}
	return c, checkCPUs(c.CPUs)
}

func checkCPUs(cpus []int) error {
	for _, cpu := range cpus {
		if cpu < 0 || cpu >= maxCPUs {
			return fmt.Errorf("%w: CPU %d, want 0 to %d", ErrConfig, cpu, maxCPUs-1)
		}
	}
	return nil
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// to is where flow 0 goes; fixed tells that all others go there, too.
func (c Config) to() (first netip.Addr, fixed bool) {
	switch {
	case c.To.IsValid():
		return c.To.Masked().Addr(), false
	case c.IPv6:
		return netip.IPv6Loopback(), true
	}
	return netip.AddrFrom4([4]byte{127, 1}), false
}

// headerLen is the length of the IP header that the kernel writes.
func (c Config) headerLen() int {
	if c.IPv6 {
		return 40
	}
	return 20
}
