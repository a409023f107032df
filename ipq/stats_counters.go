package ipq

import (
	"math/bits"
	"sync/atomic"
)

// A counter is one of the engine's counters. To add one, add it here, its place
// in counterPlaces, and its field to Counts; whoever has counters then counts it.
type counter uint8

// Of verdicts: a writer counts these, and shows them once they are written.
const (
	countVerdicts counter = iota
	countMessages
	countModified
	countInvalid
	countTimedOut
	countTooLarge
	countExcessAccepted
	countExcessDropped

	// What became of packets: kinds, and causes.
	countAccepted // the kinds, up to countRequeued
	countDropped
	countRepeated
	countStopped
	countRequeued
	countDroppedBy = countRequeued + 1                // one for each cause
	countPassedBy  = countDroppedBy + counter(causes) // likewise
	ofVerdicts     = countPassedBy + counter(causes)
)

// The others.
const (
	countReceived counter = ofVerdicts + iota
	countWrites
	countWriteRetries
	countTruncated
	countUndecodable
	countUnknown
	countRefused
	countOther
	countOverruns
	countReadRetries
	countParks
	countWaits
	countOvertook
	countOrphans
	countPanics
	countBypassed
	countBypassFailed
	countDeferred
	countDeferExpired
	countDeferRefused
	countDroppedRefused
	countPassedRefused
	countResets
	countProhibitions
	countRejectExempt
	countRejectDamaged
	countRejectUnknown
	countRejectLimited
	countRejectFailed

	ofAll = countRejectFailed + 1
)

// counterPlaces says where Counts has each counter but those by cause.
var counterPlaces = [ofAll]func(*Counts) *uint64{
	countVerdicts:       func(c *Counts) *uint64 { return &c.Verdicts },
	countMessages:       func(c *Counts) *uint64 { return &c.Messages },
	countAccepted:       func(c *Counts) *uint64 { return &c.Accepted },
	countDropped:        func(c *Counts) *uint64 { return &c.Dropped },
	countRepeated:       func(c *Counts) *uint64 { return &c.Repeated },
	countStopped:        func(c *Counts) *uint64 { return &c.Stopped },
	countRequeued:       func(c *Counts) *uint64 { return &c.Requeued },
	countModified:       func(c *Counts) *uint64 { return &c.Modified },
	countInvalid:        func(c *Counts) *uint64 { return &c.InvalidVerdicts },
	countTimedOut:       func(c *Counts) *uint64 { return &c.TimedOut },
	countTooLarge:       func(c *Counts) *uint64 { return &c.TooLarge },
	countExcessAccepted: func(c *Counts) *uint64 { return &c.ExcessAccepted },
	countExcessDropped:  func(c *Counts) *uint64 { return &c.ExcessDropped },
	countReceived:       func(c *Counts) *uint64 { return &c.Received },
	countWrites:         func(c *Counts) *uint64 { return &c.Writes },
	countWriteRetries:   func(c *Counts) *uint64 { return &c.WriteRetries },
	countTruncated:      func(c *Counts) *uint64 { return &c.Truncated },
	countUndecodable:    func(c *Counts) *uint64 { return &c.Undecodable },
	countUnknown:        func(c *Counts) *uint64 { return &c.UnknownVerdicts },
	countRefused:        func(c *Counts) *uint64 { return &c.RefusedVerdicts },
	countOther:          func(c *Counts) *uint64 { return &c.OtherMessages },
	countOverruns:       func(c *Counts) *uint64 { return &c.Overruns },
	countReadRetries:    func(c *Counts) *uint64 { return &c.ReadRetries },
	countParks:          func(c *Counts) *uint64 { return &c.Parks },
	countWaits:          func(c *Counts) *uint64 { return &c.Waits },
	countOvertook:       func(c *Counts) *uint64 { return &c.Overtook },
	countOrphans:        func(c *Counts) *uint64 { return &c.Orphans },
	countPanics:         func(c *Counts) *uint64 { return &c.Panics },
	countBypassed:       func(c *Counts) *uint64 { return &c.Bypassed },
	countBypassFailed:   func(c *Counts) *uint64 { return &c.BypassFailed },
	countDeferred:       func(c *Counts) *uint64 { return &c.Deferred },
	countDeferExpired:   func(c *Counts) *uint64 { return &c.DeferExpired },
	countDeferRefused:   func(c *Counts) *uint64 { return &c.DeferRefused },
	countDroppedRefused: func(c *Counts) *uint64 { return &c.DroppedBy.Refused },
	countPassedRefused:  func(c *Counts) *uint64 { return &c.PassedBy.Refused },
	countResets:         func(c *Counts) *uint64 { return &c.Rejects.Resets },
	countProhibitions:   func(c *Counts) *uint64 { return &c.Rejects.Prohibitions },
	countRejectExempt:   func(c *Counts) *uint64 { return &c.Rejects.Exempt },
	countRejectDamaged:  func(c *Counts) *uint64 { return &c.Rejects.Damaged },
	countRejectUnknown:  func(c *Counts) *uint64 { return &c.Rejects.Unknown },
	countRejectLimited:  func(c *Counts) *uint64 { return &c.Rejects.Limited },
	countRejectFailed:   func(c *Counts) *uint64 { return &c.Rejects.Failed },
}

// A cause is why a packet has got its verdict.
type cause uint8

const (
	byHandler cause = iota
	byNoHandler
	byOwn
	byInvalid
	byPanic
	byTimeout
	byDeferral
	byOverload
	byUndecodable
	byTooLarge
	byEnd

	causes = byEnd + 1
)

// causePlaces says where Causes has each cause. Those that it has no line for are
// the kernel's.
var causePlaces = [causes]func(*Causes) *uint64{
	byHandler:     func(c *Causes) *uint64 { return &c.Handler },
	byNoHandler:   func(c *Causes) *uint64 { return &c.NoHandler },
	byOwn:         func(c *Causes) *uint64 { return &c.Own },
	byInvalid:     func(c *Causes) *uint64 { return &c.Invalid },
	byPanic:       func(c *Causes) *uint64 { return &c.Panic },
	byTimeout:     func(c *Causes) *uint64 { return &c.Timeout },
	byDeferral:    func(c *Causes) *uint64 { return &c.Deferral },
	byOverload:    func(c *Causes) *uint64 { return &c.Overload },
	byUndecodable: func(c *Causes) *uint64 { return &c.Undecodable },
	byTooLarge:    func(c *Causes) *uint64 { return &c.TooLarge },
	byEnd:         func(c *Causes) *uint64 { return &c.End },
}

// counters are a set of all counters. Most sets are written by one goroutine at a
// time; the padding keeps neighbours apart.
type counters struct {
	n [ofAll]atomic.Uint64
	_ [64]byte
}

func (c *counters) inc(k counter)           { c.n[k].Add(1) }
func (c *counters) add(k counter, n uint64) { c.n[k].Add(n) }

func (c *counters) addTo(to *Counts) {
	for k, place := range counterPlaces {
		if place != nil {
			*place(to) += c.n[k].Load()
		}
	}
	for by, place := range causePlaces {
		*place(&to.DroppedBy) += c.n[countDroppedBy+counter(by)].Load()
		*place(&to.PassedBy) += c.n[countPassedBy+counter(by)].Load()
	}
}

// batchSizes are the receive loop's side of Stats.BatchSizes, and of Batches,
// which is their sum.
type batchSizes [batchClasses]atomic.Uint64

// add counts a batch of n messages, of which there is one at least.
func (s *batchSizes) add(n int) { s[bits.Len(uint(n-1))].Add(1) }

func (s *batchSizes) addTo(to *Counts) {
	for i := range s {
		n := s[i].Load()
		to.BatchSizes[i] += n
		to.Batches += n
	}
}
