package bypass

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/goipq/goipq/ipq"
)

// A Table is the kernel's table of settled flows. An entry stands for both
// directions of its flow.
type Table struct {
	objects *objects // nil with ConnMark
	clock   clock
	limits  Limits
	calls   sync.Pool // of *call
}

// A call is the memory of one system call: on the heap, and used again.
type call struct {
	key   kernelFlowKey
	state kernelFlowState
}

func newTable(o *objects, clock clock, limits Limits) *Table {
	return &Table{objects: o, clock: clock, limits: limits, calls: sync.Pool{New: func() any { return new(call) }}}
}

// An Entry is what the table knows of a flow.
type Entry struct {
	Verdict ipq.Verdict // Accept or Drop
	// Live tells whether the kernel still decides the flow. An entry past a
	// limit stays in the table, for its counters, until its room is needed.
	Live bool
	// Packets and Bytes (from the IP header on) are what the kernel has decided
	// since the flow was settled last, in both directions.
	Packets, Bytes uint64
	// LastSeen is the time of the last of those packets, or of settling.
	LastSeen time.Time
	// Deadline is when Limits.Timeout is over: zero for never, or when the
	// ports were used for a new TCP connection.
	Deadline time.Time
	// Idle, MaxPackets and MaxBytes are the flow's other Limits: 0 for none.
	Idle                 time.Duration
	MaxPackets, MaxBytes uint64
}

// Insert settles a flow, in both directions: the kernel accepts or drops its
// packets from now on. What was known of the flow is replaced. A handler may
// call it in place of [ipq.Verdict.Bypass] to give a flow limits of its own;
// the zero Limits are the defaults of this package. An ICMP or ICMPv6 flow is
// that of the echo messages with the identifier in SrcPort and DstPort.
//
// The error matches [ErrFlow] or [ErrVerdict], or is the kernel's: ENOMEM when
// it could find no entry to evict.
func (t *Table) Insert(f ipq.Flow, v ipq.Verdict, l Limits) error {
	if t.objects == nil {
		return ErrNoTable
	}
	key, err := keyOf(f)
	if err != nil {
		return err
	}
	action, err := actionOf(v)
	if err != nil {
		return err
	}
	if _, marked := v.Mark(); marked {
		return ErrMarked
	}
	return t.put(&key, action, &l)
}

// put writes an entry. It allocates nothing.
func (t *Table) put(key *kernelFlowKey, action uint64, l *Limits) error {
	c := t.calls.Get().(*call)
	c.key, c.state = *key, l.state(key, action, t.clock.now())
	err := t.objects.flows.Put(&c.key, &c.state)
	t.calls.Put(c)
	if err != nil {
		return fmt.Errorf("bypass: write to the table: %w", err)
	}
	return nil
}

// Lookup returns the entry of a flow, by either of its directions. The error
// matches [ErrNotFound] if there is none.
func (t *Table) Lookup(f ipq.Flow) (Entry, error) {
	if t.objects == nil {
		return Entry{}, ErrNoTable
	}
	key, err := keyOf(f)
	if err != nil {
		return Entry{}, err
	}
	var state kernelFlowState
	if err := t.objects.flows.Lookup(&key, &state); err != nil {
		return Entry{}, tableError("read from", err)
	}
	if state.Key != key { // it has just left the table, see bpf/bypass.c
		return Entry{}, ErrNotFound
	}
	return t.entry(&state), nil
}

// Delete takes a flow out of the table, so that its packets are queued again.
// The error matches [ErrNotFound] if it is not there.
func (t *Table) Delete(f ipq.Flow) error {
	if t.objects == nil {
		return ErrNoTable
	}
	key, err := keyOf(f)
	if err != nil {
		return err
	}
	return t.delete(&key)
}

func (t *Table) delete(key *kernelFlowKey) error {
	c := t.calls.Get().(*call)
	c.key = *key
	err := t.objects.flows.Delete(&c.key)
	t.calls.Put(c)
	if err != nil {
		return tableError("delete from", err)
	}
	return nil
}

func tableError(what string, err error) error {
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return ErrNotFound
	}
	return fmt.Errorf("bypass: %s the table: %w", what, err)
}

func (t *Table) entry(s *kernelFlowState) Entry {
	now := t.clock.now()
	e := Entry{
		Verdict: ipq.Verdict(s.Action),
		Live: now < s.Deadline && int64(now-s.LastSeen) < int64(s.Idle) &&
			s.Packets < s.MaxPackets && s.Bytes < s.MaxBytes,
		Packets: s.Packets, Bytes: s.Bytes,
		LastSeen: t.clock.wall(s.LastSeen), Deadline: t.clock.wall(s.Deadline),
	}
	if s.Idle != math.MaxInt64 {
		e.Idle = time.Duration(s.Idle)
	}
	if s.MaxPackets != math.MaxUint64 {
		e.MaxPackets = s.MaxPackets
	}
	if s.MaxBytes != math.MaxUint64 {
		e.MaxBytes = s.MaxBytes
	}
	return e
}
