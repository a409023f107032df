package render

import (
	"fmt"
	"math"
	"slices"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/peers"
)

// A view is what the notes depend on, over all modes with a round.
type view struct {
	offered float64 // the least median
	decided float64 // the least median of verdicts per second
	lost    float64 // the largest median, in percent
	wobble  float64 // how well the verdicts per second are known, in percent, where that is worst
	busy    float64 // the least share of one CPU that the consumer got, in modes that lost packets

	guessed               bool
	lostAll, lostAtSocket uint64
}

// noticeable is the loss, in percent, from which on a consumer counts as
// saturated: a hiccup of the machine loses less.
const noticeable = 1

// look returns what the notes depend on. ok is false when nothing was measured.
func look(rep *report.Report) (v view, ok bool) {
	v = view{offered: math.Inf(1), decided: math.Inf(1), busy: math.Inf(1)}
	for i := range rep.Modes {
		m := &rep.Modes[i]
		if len(m.Rounds) == 0 {
			continue
		}
		ok = true
		if m.Name == report.ModeUnqueued {
			continue
		}
		verdicts, lost := m.Summary[report.VerdictRate], m.Summary[report.LostShare].Median
		v.offered = min(v.offered, m.Summary[report.OfferedRate].Median)
		v.decided = min(v.decided, verdicts.Median)
		v.lost = max(v.lost, lost)
		v.wobble = max(v.wobble, verdicts.Percent())
		v.guessed = v.guessed || m.Guessed()
		var all report.Round
		for j := range m.Rounds {
			rd := &m.Rounds[j]
			all.CPU += rd.CPU
			all.Window += rd.Window
			v.lostAll += rd.KernelLost()
			v.lostAtSocket += rd.SocketDropped
		}
		if lost >= noticeable {
			v.busy = min(v.busy, report.Ratio(uint64(all.CPU), uint64(all.Window)))
		}
	}
	return v, ok
}

// notes say how to read the table.
func notes(rep *report.Report) []string {
	v, ok := look(rep)
	if !ok {
		return []string{"nothing was measured"}
	}
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }

	rate := rep.Parameters.Rate
	queued := slices.ContainsFunc(rep.Modes, func(m report.Mode) bool { return m.Name != report.ModeUnqueued && len(m.Rounds) > 0 })
	if rep.Parameters.TCP || rep.Parameters.Bypass != nil || !queued {
		return otherNotes(rep, v, queued)
	}
	switch {
	case rate == 0 && v.lost >= noticeable:
		note("Packets were lost because the queue was full: the flood offers more than the consumer can "+
			"decide. So verdicts/s are the most that it can carry. To see what a packet costs at a load that it "+
			"can carry: ipq-bench -rate %d", bearable(v.decided))
	case rate == 0:
		if rep.Setup.Shared() {
			note("Hardly anything was lost: floods and consumer share their CPUs, and the floods wait for room. " +
				"Verdicts/s are what these CPUs can carry, sending included.")
			break
		}
		note("Hardly anything was lost: the consumer decides all that the flood can offer, and might carry more.")
	case v.lost >= noticeable:
		note("Packets were lost in the kernel: the consumer cannot carry this rate. Try a lower one: -rate %d", bearable(v.decided))
	}
	if v.offered < 0.98*rate {
		note("The flood offered fewer than the %s/s asked for: its CPU, or its socket's buffer, allows no more.",
			plain.Fixed(rate, 0))
	}
	end := "to where it is dropped"
	if rep.Parameters.Latency {
		end = "to the receiver"
		note("Latency runs from when a datagram was due until the kernel had it at the receiver. It includes the " +
			"sender's own: compare the mode unqueued. What was lost has no latency.")
	}
	if rep.Parameters.Replies {
		end = "to where it is answered"
	}
	note("CPU is the time of this process, user and system. It includes what the kernel does in its system "+
		"calls: it copies a packet out, and sends it on its way %s.", end)
	if v.guessed {
		note("~: the kernel does not show this user what it dropped; the figure is what is missing.")
	}
	if share := 100 * report.Ratio(v.lostAtSocket, v.lostAll); v.lost >= noticeable && share >= noticeable {
		note("%s %% of the lost packets found no room in the socket's buffer of %s KiB, before the queue was "+
			"full: raise net.core.rmem_max, or choose a lower -maxlen.",
			plain.Fixed(share, 0), plain.Commas(uint64(rep.Setup.ReadBuffer)/1024))
	}
	if b := &rep.Books; b.Arrived < b.Accepted+b.Bypassed+b.Passed {
		note("%s packets went on but did not arrive: the kernel dropped them behind the queue "+
			"(net.core.netdev_max_backlog).", plain.Commas(b.Accepted+b.Bypassed+b.Passed-b.Arrived))
	}
	if b := &rep.Books; b.Sent > b.Ruled+b.Bypassed+b.Passed {
		note("%s packets were sent but did not come to the rule: the kernel dropped them before it.",
			plain.Commas(b.Sent-b.Ruled-b.Bypassed-b.Passed))
	}
	switch {
	case v.busy < 0.5:
		note("The consumer lost packets while it got only %s %% of a CPU: something else keeps this machine "+
			"busy, and the figures are worth little.", plain.Fixed(100*v.busy, 0))
	case v.wobble > peers.MaxPercent:
		note("Verdicts/s are known to ±%s %% only: something else keeps this machine busy.", plain.Fixed(v.wobble, 0))
	}
	return notes
}

// otherNotes are the notes where connections are measured, or a bypass, or where
// there is no queue.
func otherNotes(rep *report.Report, v view, queued bool) []string {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	p := &rep.Parameters
	switch {
	case !queued:
		note("This is the path without a queue: what the senders and the kernel can do here.")
	case p.Bulk() && !p.GSO:
		note("Goodput is what the server has read. Every super-packet was cut into segments before the queue, and " +
			"each was decided: that is what -gso saves.")
	case p.Bulk():
		note("Goodput is what the server has read. A packet here is what TCP sends at once, up to 64 KiB.")
	case p.Churn():
		note("A connection is timed from when it was begun, or due, until the server has ended it: some ten " +
			"packets, each of them queued.")
	}
	if queued && p.Bypass != nil {
		note("What arrived was accepted by the handler or by the bypass. The bypass works in the system calls of the " +
			"senders. Their CPU time is in the last of the CPU figures only; the others are this process's.")
	}
	if queued && v.guessed {
		note("~: the kernel does not show this user what it dropped; the figure is what is missing.")
	}
	main := p.Main()
	for i := range rep.Modes {
		m := &rep.Modes[i]
		if s, _ := main.In(m); s.Percent() > peers.MaxPercent {
			note("%s: %s is known to ±%s %% only: something else keeps this machine busy.",
				rep.Title(m.Name), main.Label, plain.Fixed(s.Percent(), 0))
		}
	}
	return notes
}

// bearable returns a rate in round numbers: about half of what a saturated
// consumer decides.
func bearable(saturated float64) int {
	half := saturated / 2
	unit := math.Pow(10, math.Floor(math.Log10(max(half, 1))))
	return int(max(1, math.Floor(half/unit)) * unit)
}
