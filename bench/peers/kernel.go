//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/peers"
)

const (
	// drainTime is how long a queue that does not run empty after the load is
	// looked at, from when its last packet left. It is counted in looks, so that
	// a machine that stands still meanwhile takes nothing of it.
	drainTime  = drainLooks * drainLook
	drainLook  = 10 * time.Millisecond
	drainLooks = 200
)

// drained waits until no packet waits in a queue of the namespace, or none has
// left it for drainTime, and reads the kernel's counters.
func drained(ns *netlab.NS, rules *netlab.Ruleset) (peers.Kernel, error) {
	var k peers.Kernel
	counters, err := rules.Counters()
	if err != nil {
		return k, err
	}
	for _, c := range counters {
		k.Matched += c.Packets
	}
	for looks := 0; ; time.Sleep(drainLook) {
		before := k.Waiting
		stats, err := ns.QueueStats()
		if errors.Is(err, fs.ErrPermission) {
			time.Sleep(drainTime / 10) // there is no way to see it
			return k, nil
		}
		if err != nil {
			return k, err
		}
		k = peers.Kernel{Matched: k.Matched, Known: true}
		for _, s := range stats {
			k.Waiting += uint64(s.Waiting)
			// A packet that the socket refused has had an id.
			k.Delivered += uint64(s.IDSequence - s.UserDropped)
			k.Dropped += uint64(s.Dropped)
			k.UserDropped += uint64(s.UserDropped)
		}
		if looks++; k.Waiting < before {
			looks = 0
		}
		if k.Waiting == 0 || looks > drainLooks {
			return k, nil
		}
	}
}

// compare holds the kernel's account against what the floods have sent and the
// contestant decided.
func compare(k *peers.Kernel, sent, decided uint64) string {
	switch {
	case k.Matched != sent:
		return fmt.Sprintf("the floods sent %d packets, the rule met %d", sent, k.Matched)
	case k.Known && k.Delivered+k.Dropped+k.UserDropped != sent:
		return fmt.Sprintf("the floods sent %d packets, the queue knows of %d", sent, k.Delivered+k.Dropped+k.UserDropped)
	case k.Waiting > 0:
		return fmt.Sprintf("%d packets had no verdict %v after the flood", k.Waiting, drainTime)
	case k.Known && k.Delivered != decided:
		return fmt.Sprintf("the kernel delivered %d packets, the contestant decided %d", k.Delivered, decided)
	default:
		return ""
	}
}
