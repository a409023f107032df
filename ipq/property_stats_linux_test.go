package ipq

import (
	"fmt"
	"syscall"

	"github.com/goipq/goipq/internal/fakekernel"
)

// checkStats compares the engine's counts with the judges' and the kernels'.
func checkStats(s *schedule, got Stats, judges []*judge, kernels []*fakekernel.Kernel) (wrong []string) {
	var want, late Stats
	var messages, refused, unknown, rejects uint64
	var droppedBy, passedBy [causes]uint64
	var droppedUnsure, passedUnsure uint64
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
		want.TimedOut += w.TimedOut
		rejects += w.Rejects.Unknown
		want.ExcessAccepted += w.ExcessAccepted
		want.ExcessDropped += w.ExcessDropped
		for by := range droppedBy {
			droppedBy[by] += j.droppedBy[by]
			passedBy[by] += j.passedBy[by]
		}
		droppedUnsure += j.droppedUnsure
		passedUnsure += j.passedUnsure
		late.TimedOut += j.late.TimedOut
		late.Panics += j.late.Panics
		late.Bypassed += j.late.Bypassed
		late.BypassFailed += j.late.BypassFailed
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
	between := func(what string, got, want, late uint64) {
		if got < want || got > want+late {
			wrong = append(wrong, fmt.Sprintf("Stats.%s is %d, want %d to %d", what, got, want, want+late))
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
	between("Panics", got.Panics, want.Panics, late.Panics)
	check("InvalidVerdicts", got.InvalidVerdicts, want.InvalidVerdicts)
	check("Truncated", got.Truncated, want.Truncated)
	between("Bypassed", got.Bypassed, want.Bypassed, late.Bypassed)
	between("BypassFailed", got.BypassFailed, want.BypassFailed, late.BypassFailed)
	between("TimedOut", got.TimedOut, want.TimedOut, late.TimedOut)
	check("ExcessAccepted", got.ExcessAccepted, want.ExcessAccepted)
	check("ExcessDropped", got.ExcessDropped, want.ExcessDropped)
	r := &got.Rejects
	check("Rejects, in all", r.Resets+r.Prohibitions+r.Exempt+r.Damaged+r.Unknown+r.Limited+r.Failed, rejects)
	if got.Overtook > got.ExcessAccepted || got.Stuck+got.DeferredNow != 0 {
		wrong = append(wrong, fmt.Sprintf("Stats.Overtook is %d, of %d accepted; Stuck is %d, DeferredNow %d", got.Overtook, got.ExcessAccepted, got.Stuck, got.DeferredNow))
	}
	byCause := func(what string, got *Causes, want *[causes]uint64, unsure uint64) {
		var sum, wantSum uint64
		for by, place := range causePlaces {
			n, spare := *place(got), uint64(0)
			if by := cause(by); what == "PassedBy" && by == byHandler {
				check(what+", by a handler", n, 0)
				continue // where it is counted as its kind
			} else if by == byHandler || by == byPanic || by == byTimeout || by == byDeferral || by == byEnd {
				spare = unsure
			}
			sum, wantSum = sum+n, wantSum+want[by]
			between(fmt.Sprintf("%s, cause %d", what, by), n, want[by], spare)
		}
		between(what+" in all", sum, wantSum, unsure)
	}
	byCause("DroppedBy", &got.DroppedBy, &droppedBy, droppedUnsure)
	byCause("PassedBy", &got.PassedBy, &passedBy, passedUnsure)
	d := &got.DroppedBy
	check("Dropped, by all causes", d.Handler+d.Invalid+d.Panic+d.Timeout+d.Deferral+d.Overload+d.Undecodable+d.TooLarge+d.End, got.Dropped)
	check("TimedOut and what was deferred, by cause", got.TimedOut, min(got.TimedOut, d.Timeout+d.End+got.PassedBy.Timeout+got.PassedBy.End))
	var sum Counts
	sum.KernelKnown = true
	for i := range got.Queues {
		sum.add(&got.Queues[i].Counts)
	}
	if sum != got.Counts {
		wrong = append(wrong, fmt.Sprintf("the queues' counts come to %+v, not to %+v", sum, got.Counts))
	}
	check("Overruns", got.Overruns, want.Overruns)
	check("Undecodable + OtherMessages", got.Undecodable+got.OtherMessages, messages)
	if s.direct { // otherwise the socket between may be full, too
		check("WriteRetries", got.WriteRetries, want.WriteRetries)
	}
	if s.direct && s.cfg.Workers == Inline && s.defers == 0 && s.cfg.HandlerTimeout == 0 {
		check("UnknownVerdicts", got.UnknownVerdicts, unknown)
		check("RefusedVerdicts", got.RefusedVerdicts, refused)
	} else if got.UnknownVerdicts > unknown || got.RefusedVerdicts > refused {
		// The answers to the last writes find nobody who reads them.
		wrong = append(wrong, fmt.Sprintf("Stats.UnknownVerdicts is %d, of %d sent; RefusedVerdicts is %d, of %d",
			got.UnknownVerdicts, unknown, got.RefusedVerdicts, refused))
	}
	return wrong
}
