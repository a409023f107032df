package main

import (
	"fmt"
	"io"
	"time"
)

// showEvery is how often a terminal shows new figures: seldom enough that what
// it costs the measured process is lost in the noise.
const showEvery = 250 * time.Millisecond

// A progress tells how the run goes: on a terminal in one line that is written
// anew, elsewhere in a line for each round.
type progress struct {
	w      io.Writer
	live   bool      // w is a terminal
	finish time.Time // about when the run is over
	title  string    // of the round
	rounds int       // of each mode
	kind   kinds     // of the scenario
	queued bool      // this round
	last   sample
	lines  bool // some were printed
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, live: terminalWidth(w) > 0}
}

// start begins a run.
func (p *progress) start(run *parameters) {
	p.rounds, p.kind = run.Rounds, run.kind()
	p.finish = time.Now().Add(run.total())
}

// begin begins a round.
func (p *progress) begin(n int, title string, queued bool) {
	p.queued = queued
	p.title = fmt.Sprintf("%d/%d %s", n, p.rounds, title)
	if p.live {
		p.rewrite("warming up")
	}
}

// measure begins the round's window, at the sample.
func (p *progress) measure(begin sample) { p.last = begin }

// tick shows the rates since the sample before.
func (p *progress) tick(now sample) {
	rd := between(p.last, now)
	p.last = now
	p.rewrite(p.rates(&rd))
}

// done ends a round.
func (p *progress) done(rd *round) {
	if !p.live {
		p.lines = true
		line := fmt.Sprintf("round %s: %s", p.title, p.rates(rd))
		cost := fmt.Sprintf(", CPU %s ns/packet", fixed(ratio(uint64(rd.CPU), rd.Verdicts), 0))
		if rd.Verdicts > 0 && len(line+cost) <= textWidth(p.w) {
			line += cost
		}
		fmt.Fprintln(p.w, line)
	}
}

// end makes way for the table: a living line goes, others are set apart.
func (p *progress) end() {
	switch {
	case p.live:
		io.WriteString(p.w, "\r"+clearToEnd)
	case p.lines:
		fmt.Fprintln(p.w)
	}
}

const clearToEnd = "\x1b[K" // ANSI's EL: erase in line

// rewrite replaces the living line. It clears behind the text, not before it,
// so nothing flickers.
func (p *progress) rewrite(text string) {
	left := max(0, time.Until(p.finish)) + time.Second - 1
	line := fmt.Sprintf("%s, %d s left: %s", p.title, left/time.Second, text)
	// Behind it stays room for the ^C that a terminal echoes: at its edge that
	// would begin another line.
	if room := terminalWidth(p.w) - len("^C") - 1; room > 0 && len(line) > room {
		line = line[:room]
	}
	io.WriteString(p.w, "\r"+line+clearToEnd)
}

func (p *progress) rates(rd *round) string {
	text := ""
	switch p.kind {
	case onBulk:
		text = fixed(8e-6*rd.perSecond(rd.Bytes), 0) + " Mbit/s"
	case onChurn:
		text = fixed(rd.perSecond(rd.Connections), 0) + " connections/s"
	}
	switch {
	case text != "" && p.queued:
		return fmt.Sprintf("%s, %s verdicts/s", text, fixed(rd.perSecond(rd.Verdicts), 0))
	case text != "":
		return text
	case !p.queued:
		return fmt.Sprintf("%s arrived/s of %s offered", fixed(rd.perSecond(rd.Arrived), 0), fixed(rd.perSecond(rd.Sent), 0))
	}
	sign := ""
	if !rd.QueueKnown {
		sign = "~"
	}
	return fmt.Sprintf("%s verdicts/s of %s offered, %s%s %% lost",
		fixed(rd.perSecond(rd.Verdicts), 0), fixed(rd.perSecond(rd.Sent), 0),
		sign, fixed(100*ratio(rd.lost(), rd.Sent), 1))
}
