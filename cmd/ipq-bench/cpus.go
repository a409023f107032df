package main

import (
	"fmt"
	"slices"

	"github.com/goipq/goipq/internal/bench/report"
)

// place gives each flood a CPU of its own, and the consumer what is left if
// that is at least one CPU for each queue; otherwise all.
//
// A flood offers about as much as one receive loop decides. So there are two
// for each queue where they leave the consumer as many CPUs as they take, and
// one elsewhere.
//
// The kernel's fan-out puts what CPU c sends into queue c mod queues, so the
// floods' CPUs must differ in that. Where the allowed ones do not reach all
// queues, there are as many floods as can be, and the kernel balances by the
// hash of addresses.
func place(allowed []int, queues int) report.Placement {
	each := 1
	if len(allowed) >= 4*queues {
		each = 2
	}
	var p report.Placement
	p.Fanout = queues > 1
	taken := make([]int, queues)
	for _, cpu := range allowed {
		if q := cpu % queues; taken[q] < each {
			taken[q]++
			p.Flood = append(p.Flood, cpu)
		}
	}
	if slices.Contains(taken, 0) {
		p.Fanout = false
		p.Flood = allowed[:min(queues, len(allowed))]
	}
	for _, cpu := range allowed {
		if !slices.Contains(p.Flood, cpu) {
			p.Consumer = append(p.Consumer, cpu)
		}
	}
	if len(p.Consumer) < queues {
		p.Consumer = allowed
	}
	return p
}

// checkPin says why receive loops cannot have a CPU each.
func checkPin(p report.Placement, queues int) error {
	if len(p.Consumer) < queues {
		return fmt.Errorf("-pin with -queues %d needs as many CPUs; this process may use %d", queues, len(p.Consumer))
	}
	return nil
}
