package main

import (
	"fmt"
	"slices"

	"github.com/goipq/goipq/internal/bench/report"
)

// place gives each flood a CPU of its own. The consumer gets those that are left
// if there is one for each queue, and otherwise all.
//
// A flood offers about as much as one receive loop decides. So each queue has two
// floods where that leaves the consumer as many CPUs as they take, and otherwise
// one.
//
// The kernel's fan-out puts what CPU c sends into queue c mod queues, so the
// floods' CPUs must differ in that. Where the allowed CPUs do not reach all queues,
// there are as many floods as possible, and the kernel chooses the queue by a hash
// of addresses.
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

// checkPin says why the receive loops cannot have a CPU each.
func checkPin(p report.Placement, queues int) error {
	if len(p.Consumer) < queues {
		return fmt.Errorf("-pin with -queues %d needs a CPU for each queue, and the consumer has %d", queues, len(p.Consumer))
	}
	return nil
}
