package stream

import (
	"fmt"
	"math"
	"time"

	"github.com/goipq/goipq/ipq"
)

// Defaults that the zero values of [Config] stand for.
const (
	DefaultMaxConns  = 1 << 16
	DefaultMaxMemory = 256 << 20
	// DefaultMaxBehind is more than the windows that Linux gives by itself up to version
	// 6.15, and most that it gives from then on (net.ipv4.tcp_rmem: 6 MiB and 32).
	DefaultMaxBehind = 8 << 20
	// DefaultIdle is the least that RFC 5382 (REQ-5) asks of translators: hosts that
	// keep silent connections alive send something every two hours.
	DefaultIdle = 2*time.Hour + 4*time.Minute
)

// The bounds of a Config.
const (
	maxMaxConns  = 1 << 24
	minMaxMemory = 1 << 20
	maxMaxMemory = 1 << (30 + 10*(math.MaxInt>>62)) // a GiB with 32 bits, a TiB with 64
	minMaxBehind = 1 << 17                          // two super-packets
	maxMaxBehind = 1 << 30                          // the largest window that TCP has
)

// Config configures an [Engine]. Open must be set.
type Config struct {
	// Open is called when a connection is established, and returns who inspects it; nil
	// has it pass uninspected, as [Pass] does. c is borrowed until the Inspector's Close
	// has returned; without an Inspector, until Open returns.
	Open func(c *Conn) Inspector
	// Other handles what is not TCP; nil accepts it. What does not show for certain that
	// it is not TCP ([ipq.Flow.Unknown]) is dropped.
	Other ipq.Handler
	// MaxConns is how many connections are kept; 0 means DefaultMaxConns. Some 250 bytes
	// are reserved for each, and used as there are connections. They are kept in parts,
	// so that one may find no place when some per cent of them are still free. A new
	// connection takes the place of one that is closed, reset, or not yet established,
	// the oldest first, or else of one that is not inspected, the one first that has
	// been silent for longest; where there is none, OnLimit decides it.
	MaxConns int
	// MaxMemory is how much memory remembers bytes, of all connections together; 0 means
	// DefaultMaxMemory. It is reserved, and used as needed. Bytes are copied into blocks
	// of 2 KiB, but those of super-packets stay in the buffers that they came in, of
	// [ipq.BufferSize] each, which the queue gets others for; where memory is scarce,
	// only if they fill half of it. At most half of the memory holds segments that came
	// early: one for which there is no room is dropped, for its sender to send again.
	// Where bytes in order find no room, OnLimit decides their connection.
	MaxMemory int
	// MaxBehind is how many bytes that the receiver has not acknowledged are remembered
	// of each direction of a connection, and how many of segments that came early; 0
	// means DefaultMaxBehind. What is beyond is dropped, for its sender to send again,
	// so that a connection carries no more than MaxBehind in each round trip. While less
	// than a quarter of MaxMemory is free, it is an eighth of that for all, but 128 KiB
	// at the least.
	MaxBehind int
	// Idle is how long a connection is kept of which no packet comes; 0 means
	// DefaultIdle. One that comes later is midstream.
	Idle time.Duration
	// OnLimit is [DropFlow] or [PassFlow].
	OnLimit Limit
	// Midstream decides connections whose beginning was not seen: those that are older
	// than the Engine, and those that it has forgotten. [Drop] drops them. [Pass] lets
	// them pass uninspected. [Inspect] inspects them from the first packet on that is
	// seen, without the promise: their receivers may hold segments that nobody has
	// inspected, which need only that one to become readable.
	Midstream Decision
}

// A Limit says what becomes of a connection for which there is no room.
type Limit uint8

const (
	// DropFlow drops its packets.
	DropFlow Limit = iota
	// PassFlow lets them pass uninspected.
	PassFlow
)

// String returns "drop flow" or "pass flow".
func (l Limit) String() string { return name(limitNames[:], int(l), "limit policy") }

var limitNames = [...]string{"drop flow", "pass flow"}

func (c Config) withDefaults() (Config, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.MaxConns, DefaultMaxConns)
	def(&c.MaxMemory, DefaultMaxMemory)
	def(&c.MaxBehind, DefaultMaxBehind)
	if c.Idle == 0 {
		c.Idle = DefaultIdle
	}
	if c.Open == nil {
		return c, fmt.Errorf("%w: stream: Config.Open is nil: it says who inspects a connection", ipq.ErrConfig)
	}
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{
		{"MaxConns", c.MaxConns, 1, maxMaxConns},
		{"MaxMemory", c.MaxMemory, minMaxMemory, maxMaxMemory},
		{"MaxBehind", c.MaxBehind, minMaxBehind, maxMaxBehind},
		{"OnLimit", int(c.OnLimit), int(DropFlow), int(PassFlow)},
		{"Midstream", int(c.Midstream), int(Drop), int(Pass)},
	} {
		if f.v < f.lo || f.v > f.hi {
			return c, fmt.Errorf("%w: stream: Config.%s is %d: want %d to %d", ipq.ErrConfig, f.name, f.v, f.lo, f.hi)
		}
	}
	if c.Idle < time.Second || c.Idle > 365*24*time.Hour {
		return c, fmt.Errorf("%w: stream: Config.Idle is %v: want a second to a year", ipq.ErrConfig, c.Idle)
	}
	return c, nil
}
