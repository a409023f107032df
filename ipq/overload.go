package ipq

import "fmt"

// Overload says what becomes of packets that come while the pool is saturated:
// when all of a queue's batches are in flight, [Config.Batches] times
// [Config.BatchSize] packets.
type Overload uint8

const (
	// Wait receives no more until a batch is free. The kernel's queue fills,
	// and then the kernel drops packets, or accepts them with
	// [Config.FailOpen]. It is the default, and the only one under which the
	// packets of a flow always keep their order.
	Wait Overload = iota
	// AcceptExcess accepts them in the receive loop, without the handler. A
	// packet accepted so overtakes those of its flow that still wait in the
	// pool: see [Stats.Overtook].
	AcceptExcess
	// DropExcess drops them in the receive loop, without the handler.
	DropExcess
)

// String returns for example "wait".
func (o Overload) String() string {
	switch o {
	case Wait:
		return "wait"
	case AcceptExcess:
		return "accept excess"
	case DropExcess:
		return "drop excess"
	}
	return fmt.Sprintf("overload policy %d", uint8(o))
}
