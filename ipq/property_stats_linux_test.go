package ipq

import (
	"fmt"
	"syscall"

	"github.com/goipq/goipq/internal/fakekernel"
)

// checkStats compares the engine's counts with the judges' and the kernels'.
func checkStats(s *schedule, got Stats, judges []*judge, kernels []*fakekernel.Kernel) (wrong []string) {
	var want Stats
	var messages, refused, unknown uint64
	for i, j := range judges {
		k, w := kernels[i].Counters(), j.want
		want.Received += k.Delivered
		want.Verdicts += k.Verdicts
		want.Messages += k.Messages - k.Again // those are single, and not counted
		want.Writes += k.Writes - k.Again
		want.Accepted += w.Accepted
		want.Dropped += w.Dropped
		want.Repeated += w.Repeated
		want.Stopped += w.Stopped
		want.Requeued += w.Requeued
		want.Modified += w.Modified
		want.Panics += w.Panics
		want.InvalidVerdicts += w.InvalidVerdicts
		want.Truncated += w.Truncated
		want.Bypassed += w.Bypassed
		want.BypassFailed += w.BypassFailed
		want.WriteRetries += k.SendFaults[syscall.EAGAIN] + k.SendFaults[syscall.ENOBUFS] + k.SendFaults[syscall.ENOMEM]
		want.Overruns += k.RecvFaults[syscall.ENOBUFS]
		// Some foreign messages are shorter than any of a queue's, and so
		// undecodable.
		messages += w.Undecodable + k.Queued - k.Delivered + k.Foreign
		unknown += k.Errors[syscall.ENOENT]
		refused += k.ErrorsBut(syscall.ENOENT)
	}
	check := func(what string, got, want uint64) {
		if got != want {
			wrong = append(wrong, fmt.Sprintf("Stats.%s is %d, want %d", what, got, want))
		}
	}
	check("Received", got.Received, want.Received)
	check("Verdicts", got.Verdicts, want.Verdicts)
	check("Messages", got.Messages, want.Messages)
	check("Writes", got.Writes, want.Writes)
	check("Accepted", got.Accepted, want.Accepted)
	check("Dropped", got.Dropped, want.Dropped)
	check("Repeated", got.Repeated, want.Repeated)
	check("Stopped", got.Stopped, want.Stopped)
	check("Requeued", got.Requeued, want.Requeued)
	check("Modified", got.Modified, want.Modified)
	check("Panics", got.Panics, want.Panics)
	check("InvalidVerdicts", got.InvalidVerdicts, want.InvalidVerdicts)
	check("Truncated", got.Truncated, want.Truncated)
	check("Bypassed", got.Bypassed, want.Bypassed)
	check("BypassFailed", got.BypassFailed, want.BypassFailed)
	check("Overruns", got.Overruns, want.Overruns)
	check("Undecodable + OtherMessages", got.Undecodable+got.OtherMessages, messages)
	if s.direct { // otherwise the socket between may be full, too
		check("WriteRetries", got.WriteRetries, want.WriteRetries)
	}
	if s.direct && s.cfg.Workers == Inline {
		check("UnknownVerdicts", got.UnknownVerdicts, unknown)
		check("RefusedVerdicts", got.RefusedVerdicts, refused)
	} else if got.UnknownVerdicts > unknown || got.RefusedVerdicts > refused {
		// The answers to the last writes find nobody who reads them.
		wrong = append(wrong, fmt.Sprintf("Stats.UnknownVerdicts is %d, of %d sent; RefusedVerdicts is %d, of %d",
			got.UnknownVerdicts, unknown, got.RefusedVerdicts, refused))
	}
	return wrong
}
