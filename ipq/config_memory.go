package ipq

import (
	"fmt"
	"reflect"

	"github.com/goipq/goipq/internal/zerocopy"
)

// A limit is how many bytes something allows.
type limit struct {
	bytes uint64
	by    string
}

// A demand is what a Config makes Open ask for.
type demand struct {
	memory  uint64 // that usual traffic makes resident, at the most
	address uint64 // address space
}

const (
	// slotStride is the address space of a packet's buffer: see ring.Config.
	slotStride = 68 << 10
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

// fits returns an error if memory cannot hold what c asks for: to ask for it all
// the same would end the process.
func (c *Config) fits(memory, address limit) error {
	d := c.demand()
	what, need, most := "memory", d.memory, memory
	if d.memory <= memory.bytes {
		what, need, most = "address space", d.address, address
	}
	if need <= most.bytes {
		return nil
	}
	return fmt.Errorf("%w: Config.Queues, Batches and BatchSize (%d × %d × %d packets), Workers (%d) and MaxDeferred (%d) "+
		"need %d MiB of %s, and %s %d MiB: lower them",
		ErrConfig, c.Queues, c.Batches, c.BatchSize, c.Workers, c.MaxDeferred, need>>20, what, most.by, most.bytes>>20)
}
