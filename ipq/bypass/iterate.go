package bypass

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/goipq/goipq/ipq"
)

// batch is how many entries one system call of Iterate and Flush is for. The
// kernel hands out whole buckets of its hash table, which hold one or two.
const batch = 4096

// Iterate calls f for each entry, in no order, until f returns false. The flow
// is in one of its two directions. Flows that are settled meanwhile, or leave,
// may or may not be met, but none twice. f may call the Table's methods.
func (t *Table) Iterate(f func(ipq.Flow, Entry) bool) error {
	return t.batches(func(keys []kernelFlowKey, states []kernelFlowState) (bool, error) {
		for i := range keys {
			if !f(keys[i].flow(), t.entry(&states[i])) {
				return false, nil
			}
		}
		return true, nil
	})
}

// Flush takes every flow out of the table that was settled before the call, so
// that all are queued again. Flows that are settled meanwhile may stay.
func (t *Table) Flush() error {
	// Not while walking: the walk goes by buckets, so deleting what it has
	// passed is safe.
	return t.batches(func(keys []kernelFlowKey, _ []kernelFlowState) (bool, error) {
		for i := range keys {
			if err := t.delete(&keys[i]); err != nil && !errors.Is(err, ErrNotFound) {
				return false, err
			}
		}
		return true, nil
	})
}

func (t *Table) batches(f func([]kernelFlowKey, []kernelFlowState) (more bool, err error)) error {
	if t.objects == nil {
		return ErrNoTable
	}
	keys, states := make([]kernelFlowKey, batch), make([]kernelFlowState, batch)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := t.objects.flows.BatchLookup(&cursor, keys, states, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return fmt.Errorf("bypass: walk through the table: %w", err)
		}
		more, err := f(keys[:n], states[:n])
		if err != nil || last || !more {
			return err
		}
	}
}

// Counters are sums over all flows and rules since the table was made,
// including flows that have left it and rules that were removed. They are exact:
// each packet that the kernel decided by the table is in them once. With
// [Config.PinDir] they go on in the next process, but for what the rules of
// [Bypasser.Install] have counted.
type Counters struct {
	AcceptedPackets, AcceptedBytes uint64 // bytes from the IP header on
	DroppedPackets, DroppedBytes   uint64
	// Expired and Spent count packets that were queued again because their
	// flow was past its Timeout or Idle time, or past its budget; Reopened
	// those that opened a new TCP connection on an accepted flow; Suspended
	// those that came when the lease had run out.
	Expired, Spent, Reopened, Suspended uint64
}

// Counters returns the sums.
func (t *Table) Counters() (Counters, error) {
	if t.objects == nil {
		return Counters{}, ErrNoTable
	}
	return t.objects.tallies.count()
}
