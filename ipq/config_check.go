package ipq

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"

	"github.com/goipq/goipq/internal/machine"
	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/zerocopy"
)

// The bounds of a Config.
const (
	maxMaxQueueLen = 65536 // the kernel's NFQNL_HASH_MAX_SIZE * 2
	maxBatchSize   = 1024  // UIO_MAXIOV
	maxWorkers     = 4096
	maxQueues      = 1024
	maxBatches     = 4096
	maxRejectRate  = 1_000_000
)

// withDefaults returns c with its zeroes replaced, or says what is wrong in
// it.
func (c Config) withDefaults() (Config, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Queues, 1)
	def(&c.MaxQueueLen, DefaultMaxQueueLen)
	def(&c.Workers, runtime.GOMAXPROCS(0))
	def(&c.SnapLen, zerocopy.MaxCopyRange)
	if c.Workers == Inline {
		def(&c.BatchSize, DefaultInlineBatch)
		def(&c.Batches, 1)
	} else {
		def(&c.BatchSize, DefaultPoolBatch)
		kept := 0
		if c.HandlerTimeout > 0 {
			kept = c.strands()
		}
		def(&c.Batches, min(max(8, 2*c.Workers)+kept, maxBatches))
	}
	if c.SnapLen > zerocopy.MaxCopyRange && c.SnapLen <= 0xffff {
		c.SnapLen = zerocopy.MaxCopyRange // the kernel's own rule
	}
	def(&c.MaxDeferred, max(1, c.MaxQueueLen/2))
	def(&c.RejectRate, DefaultRejectRate)
	if c.DeferTimeout == 0 {
		c.DeferTimeout = DefaultDeferTimeout
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = DefaultDrainTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, c.validate()
}

func (c *Config) validate() error {
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{
		{"Queues", c.Queues, 1, maxQueues},
		{"Queue+Queues-1", int(c.Queue) + c.Queues - 1, 0, 0xffff},
		{"Copy", int(c.Copy), int(CopyPacket), int(CopyMeta)},
		{"SnapLen", c.SnapLen, 1, zerocopy.MaxCopyRange},
		{"MaxQueueLen", c.MaxQueueLen, 1, maxMaxQueueLen},
		{"ReadBuffer", c.ReadBuffer, 0, 1<<31 - 1}, // the socket option is an int
		{"NetNS", c.NetNS, 0, 1<<31 - 1},
		{"Workers", c.Workers, Inline, maxWorkers},
		{"BatchSize", c.BatchSize, 1, maxBatchSize},
		{"Batches", c.Batches, 1, maxBatches},
		{"Overload", int(c.Overload), int(Wait), int(DropExcess)},
		{"MaxDeferred", c.MaxDeferred, 1, maxMaxQueueLen},
		{"RejectRate", c.RejectRate, 1, maxRejectRate},
		{"HandlerTimeout", int(min(c.HandlerTimeout, 1)), 0, 1},
		{"DrainTimeout", int(min(c.DrainTimeout, 1)), 0, 1},
		{"DeferTimeout", int(min(c.DeferTimeout, 1)), 0, 1},
		{"FlushAfter", int(min(c.FlushAfter, 1)), 0, 1},
		{"GatherFor", int(min(c.GatherFor, 1)), 0, 1},
		{"BusyPoll", int(min(c.BusyPoll, 1)), 0, 1},
	} {
		if f.v < f.lo || f.v > f.hi {
			if f.hi == 1 {
				return fmt.Errorf("%w: Config.%s is negative", ErrConfig, f.name)
			}
			return fmt.Errorf("%w: Config.%s is %d: want %d to %d", ErrConfig, f.name, f.v, f.lo, f.hi)
		}
	}
	for name, v := range map[string]Verdict{"OnPanic": c.onPanic(), "OnTimeout": c.onTimeout(), "BeforeHandler": c.beforeHandler()} {
		if !v.valid() || v&wishes != 0 {
			return fmt.Errorf("%w: Config.%s is %v: want a verdict that the kernel knows, without a bypass, and no Reject", ErrConfig, name, v)
		}
	}
	switch {
	case c.Workers == Inline && c.Overload != Wait:
		return fmt.Errorf("%w: Config.Overload is %v: that is for a pool; with Inline there is no excess", ErrConfig, c.Overload)
	case c.Workers != Inline && c.HandlerTimeout > 0 && c.Batches <= c.strands():
		return fmt.Errorf("%w: Config.Batches is %d: with HandlerTimeout it must be more than twice the %d workers", ErrConfig, c.Batches, c.Workers)
	}
	return nil
}

// holdNetNS makes NetNS a duplicate of what the caller gave, who may lose it at
// any moment: see Config.NetNS. It lives until release is called.
func (c *Config) holdNetNS() (release func(), err error) {
	if c.NetNS <= 0 { // the caller's, or no descriptor, which validate tells
		return func() {}, nil
	}
	f, err := netns.Dup(c.NetNS)
	if err != nil {
		return nil, &OpError{Op: "open", Queue: c.Queue, Err: fmt.Errorf("%w: Config.NetNS: %w", ErrConfig, err)}
	}
	c.NetNS = int(f.Fd())
	return func() { f.Close() }, nil
}

// strands returns how many strands each queue has: one for each worker, and as
// many to take the place of those that get stuck, if that is looked for.
func (c *Config) strands() int {
	if c.HandlerTimeout > 0 {
		return 2 * c.Workers
	}
	return c.Workers
}

// options returns what c says of the socket for a queue.
func (c *Config) options(queue uint16) *nfsock.Options {
	o := &nfsock.Options{
		Queue: queue, NetNS: c.NetNS, CopyMode: c.Copy.kernel(), CopyRange: c.SnapLen,
		QueueLen: c.MaxQueueLen, ReadBuffer: c.ReadBuffer, Logger: c.Logger,
	}
	for _, f := range configFlags {
		if f.set(c) {
			o.Flags |= f.flag
		}
	}
	if c.Observe {
		o.Flags |= zerocopy.FlagFailOpen
	}
	return o
}

// configFlags names the fields of Config that are flags of the kernel.
var configFlags = []struct {
	name  string
	flag  uint32
	set   func(*Config) bool
	since string // what has it
}{
	{"FailOpen", zerocopy.FlagFailOpen, func(c *Config) bool { return c.FailOpen }, "Linux 3.6 or newer"},
	{"GSO", zerocopy.FlagGSO, func(c *Config) bool { return c.GSO }, "Linux 3.10 or newer"},
	{"Conntrack", zerocopy.FlagConntrack, func(c *Config) bool { return c.Conntrack },
		"a kernel with CONFIG_NETFILTER_NETLINK_GLUE_CT and nf_conntrack_netlink (kmod-nf-conntrack-netlink on OpenWrt)"},
	{"UIDGID", zerocopy.FlagUIDGID, func(c *Config) bool { return c.UIDGID }, "Linux 3.14 or newer"},
	{"SecCtx", zerocopy.FlagSecCtx, func(c *Config) bool { return c.SecCtx }, "Linux 4.3 or newer"},
}

// plain is the verdict that takes the place of one that the kernel refused, and the
// verdict on what a process that is gone had received. No kind of verdict counts it,
// so that it may be what Observe lets pass.
func (c *Config) plain() Verdict {
	if c.Observe {
		return Accept
	}
	return c.onUndecodable()
}

// The verdicts on packets that no handler decides, or not in time.
func (c *Config) onPanic() Verdict       { return c.OnPanic.or(c.FailOpen) }
func (c *Config) onTimeout() Verdict     { return c.OnTimeout.or(c.FailOpen) }
func (c *Config) beforeHandler() Verdict { return c.BeforeHandler.or(c.FailOpen) }
func (c *Config) onUndecodable() Verdict { return ExceptionPolicy{}.or(c.FailOpen) }

// A demand is what a Config makes Open ask for.
type demand struct {
	memory  uint64 // that usual traffic makes resident, at the most
	address uint64 // address space
}

const (
	// slotStride is the address space of a packet's buffer, in whole pages of the
	// heap: see ring.NewBuffers.
	slotStride = 72 << 10
	// slotMemory is what a frame of 1500 bytes touches of it, with its attributes:
	// two pages.
	slotMemory = 8 << 10
	// slotExtra is what belongs to a slot elsewhere, beside its Packet: its part
	// of recvmmsg's vectors, and its verdict.
	slotExtra = 128 + zerocopy.MaxVerdictLen
	// writerSlot is what a writer has for each packet: its part of the vectors of
	// sendmsg.
	writerSlot = 128
	// copyMemory is a deferred frame, with what goes with it.
	copyMemory = 4 << 10
)

// demand returns what c, complete, asks for.
func (c *Config) demand() demand {
	queues, batches, slots := uint64(c.Queues), uint64(c.Batches)+1, uint64(c.BatchSize)
	fixed := uint64(reflect.TypeFor[Packet]().Size()) + slotExtra // for each slot
	var strands, rest uint64
	if c.Workers != Inline {
		strands = uint64(c.strands())
		shareSize := uint64(reflect.TypeFor[share]().Size()) + 2*slots
		rest = batches * min(strands, slots) * shareSize
	}
	rest += (strands + 2) * slots * writerSlot
	frame := uint64(min(slotMemory, 2*(zerocopy.MaxOverhead+c.SnapLen)))
	return demand{
		memory:  queues * (batches*slots*(frame+fixed) + rest + uint64(c.MaxDeferred)*copyMemory),
		address: queues * (batches*slots*(slotStride+fixed) + rest + uint64(c.MaxDeferred)*copyMemory),
	}
}

// checkMemory returns an error if this machine cannot hold what c asks for.
func (c *Config) checkMemory() error { return c.fits(machine.Memory(), machine.AddressSpace()) }

// fits returns an error if memory cannot hold what c asks for: to ask for it all
// the same would end the process.
func (c *Config) fits(memory, address machine.Limit) error {
	d := c.demand()
	what, need, most := "memory", d.memory, memory
	if d.memory <= memory.Bytes {
		what, need, most = "address space", d.address, address
	}
	if need <= most.Bytes {
		return nil
	}
	return fmt.Errorf("%w: Config.Queues, Batches and BatchSize (%d × %d × %d packets), Workers (%d) and MaxDeferred (%d) "+
		"need %d MiB of %s, and %s %d MiB: lower them",
		ErrConfig, c.Queues, c.Batches, c.BatchSize, c.Workers, c.MaxDeferred, need>>20, what, most.By, most.Bytes>>20)
}

// newPins returns a pin for each receive loop, or nils when they are not to be
// pinned.
func newPins(cfg *Config) ([]*machine.Pin, error) {
	if !cfg.PinCPU {
		return make([]*machine.Pin, cfg.Queues), nil
	}
	pins, err := machine.Pins(cfg.Queues)
	var few *machine.TooFewCPUs
	if errors.As(err, &few) {
		return nil, fmt.Errorf("%w: Config.PinCPU: %d queues, but only %d CPUs that this process may use", ErrConfig, few.Want, few.Have)
	}
	return pins, err
}
