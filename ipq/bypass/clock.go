package bypass

import (
	"fmt"
	"math"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A clock tells the time that the kernel's programs go by, without a system
// call. That is CLOCK_MONOTONIC of the initial time namespace. The runtime's
// monotonic clock is that of this process's time namespace, which differs by an
// offset: the kernel fixes it before the first process enters the namespace, and
// a process with threads cannot change to another one.
type clock struct {
	start time.Time
	nanos uint64 // what the kernel's clock showed at start, or a moment before
}

func (c clock) now() uint64 { return c.nanos + uint64(time.Since(c.start)) }

// wall returns when the kernel's clock shows, or showed, nanos: the zero time
// for never.
func (c clock) wall(nanos uint64) time.Time {
	if nanos == 0 || nanos == math.MaxUint64 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(nanos - c.now()))
}

const (
	// readings is how often newClock reads the kernel's clock at most: a reading
	// is as good as it is short, and another process may come in between.
	readings = 100
	// closeEnough ends the readings. It is far below a tick, to within which the
	// programs read the time.
	closeEnough = 20 * time.Microsecond
)

// newClock asks the kernel for the time, by a program: no system call tells a
// process in another time namespace.
func newClock() (clock, error) {
	c, err := readClock()
	if err != nil {
		return clock{}, fmt.Errorf("read the clock that programs in the kernel go by: %w", err)
	}
	return c, nil
}

func readClock() (clock, error) {
	shown, err := ebpf.NewMap(&ebpf.MapSpec{Name: "goipq_time", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return clock{}, err
	}
	defer shown.Close()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "goipq_time", Type: ebpf.SocketFilter, License: "MIT",
		Instructions: asm.Instructions{
			asm.FnKtimeGetNs.Call(),
			asm.LoadMapValue(asm.R1, shown.FD(), 0),
			asm.StoreMem(asm.R1, 0, asm.R0, asm.DWord),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		},
	})
	if err != nil {
		return clock{}, err
	}
	defer p.Close()
	frame := make([]byte, 14) // an Ethernet header is the least that a test run takes
	best, shortest := clock{}, time.Duration(math.MaxInt64)
	for n := 0; n < readings && shortest > closeEnough; n++ {
		before := time.Now()
		if _, err := p.Run(&ebpf.RunOptions{Data: frame}); err != nil {
			return clock{}, err
		}
		after := time.Now()
		took := after.Sub(before)
		if took >= shortest {
			continue
		}
		// The kernel's clock shows more by now, at most took. So no limit ends
		// later than it should, but up to that much earlier.
		best, shortest = clock{start: after}, took
		if err := shown.Lookup(uint32(0), &best.nanos); err != nil {
			return clock{}, err
		}
	}
	return best, nil
}
