package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
)

// showEvery is how often a terminal shows new figures: so seldom that it costs the
// measured process next to nothing.
const showEvery = 250 * time.Millisecond

// A progress tells how the run goes. On a terminal it is one line that is rewritten,
// elsewhere a line for each round.
type progress struct {
	w      io.Writer
	live   bool // w is a terminal
	began  time.Time
	finish time.Time // about when the run is over
	turns  int       // rounds or searches of all modes
	turn   int       // the one that has begun, from 1 on
	title  string    // of the round
	run    *report.Parameters
	queued bool // this round
	last   sample
	lines  bool // some were printed
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, live: plain.TerminalWidth(w) > 0}
}

// start begins a run of that many turns, which takes about the total time.
func (p *progress) start(run *report.Parameters, turns int, total time.Duration) {
	p.run = run
	p.began, p.turns = time.Now(), turns
	p.finish = p.began.Add(total)
}

// begin begins a round. The time that is left follows from how long the rounds
// before it took.
func (p *progress) begin(n int, title string, queued bool) {
	if p.turn > 0 {
		p.finish = p.began.Add(time.Since(p.began) * time.Duration(p.turns) / time.Duration(p.turn))
	}
	p.turn++
	p.queued = queued
	p.title = fmt.Sprintf("%d/%d %s", n, p.run.Rounds, title)
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
func (p *progress) done(rd *report.Round) {
	if !p.live {
		p.lines = true
		line := fmt.Sprintf("round %s: %s", p.title, p.rates(rd))
		cost := fmt.Sprintf(", CPU %s ns/packet", plain.Fixed(report.Ratio(uint64(rd.CPU), rd.Verdicts), 0))
		if rd.Verdicts > 0 && len(line+cost) <= plain.TextWidth(p.w) {
			line += cost
		}
		fmt.Fprintln(p.w, line)
	}
}

// end makes way for the table. It clears the living line, or leaves an empty line
// behind the others.
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
	// There must be room for the ^C that a terminal echoes: at the edge it would
	// begin another line.
	room := plain.TerminalWidth(p.w) - len("^C") - 1
	io.WriteString(p.w, "\r"+p.line(text, room, time.Now())+clearToEnd)
}

// line is the living line: the round, a bar of how much of the run is over, the
// time that is left, and the text. room is how wide it may be; 0 or less means any
// width.
func (p *progress) line(text string, room int, now time.Time) string {
	// Rounded up: at the end it says 1 s, not 0.
	left := (max(0, p.finish.Sub(now)) + time.Second - 1).Truncate(time.Second)
	wait := fmt.Sprintf("%d s", left/time.Second)
	if left >= 2*time.Minute {
		wait = left.String()
	}
	bar := ", "
	// A usual text, so that the bar keeps its width whatever the text is.
	const usual, shortest, longest = len("1,200,000 verdicts/s of 2,400,000 offered, 50.0 % lost"), 6, 24
	if n := room - plain.Width(p.title) - len(" [] 10m10s left: ") - usual; n >= shortest {
		n = min(n, longest)
		done := 1.0
		if all := p.finish.Sub(p.began); all > 0 {
			done = min(1, now.Sub(p.began).Seconds()/all.Seconds())
		}
		full := int(done * float64(n))
		bar = " [" + strings.Repeat("#", full) + strings.Repeat("-", n-full) + "] "
	}
	line := []rune(p.title + bar + wait + " left: " + text)
	if room > 0 && len(line) > room {
		line = line[:room]
	}
	return string(line)
}

func (p *progress) rates(rd *report.Round) string {
	text := ""
	switch {
	case p.run.Bulk():
		text = plain.Fixed(8e-9*rd.PerSecond(rd.Bytes), 2) + " Gbit/s"
	case p.run.Churn():
		text = plain.Fixed(rd.PerSecond(rd.Connections), 0) + " connections/s"
	}
	switch {
	case text != "" && p.queued:
		return fmt.Sprintf("%s, %s verdicts/s", text, plain.Fixed(rd.PerSecond(rd.Verdicts), 0))
	case text != "":
		return text
	case !p.queued:
		return fmt.Sprintf("%s arrived/s of %s offered", plain.Fixed(rd.PerSecond(rd.Arrived), 0), plain.Fixed(rd.PerSecond(rd.Sent), 0))
	}
	sign := ""
	if !rd.QueueKnown {
		sign = "~"
	}
	return fmt.Sprintf("%s verdicts/s of %s offered, %s%s %% lost",
		plain.Fixed(rd.PerSecond(rd.Verdicts), 0), plain.Fixed(rd.PerSecond(rd.Sent), 0),
		sign, plain.Fixed(100*report.Ratio(rd.KernelLost(), rd.Sent), 1))
}

// tried shows a trial on a terminal.
func (p *progress) tried(t *report.Trial) {
	if !p.live {
		return
	}
	verdict := "nothing lost"
	if !t.Passed {
		verdict = plain.Commas(t.Lost.InKernel()) + " lost"
	}
	p.rewrite(fmt.Sprintf("%s/s: %s", plain.Fixed(t.Offered, 0), verdict))
}

// searched ends a search.
func (p *progress) searched(s *report.Search) {
	if p.live {
		return
	}
	p.lines = true
	fmt.Fprintf(p.w, "round %s: %s\n", p.title, s.Describe())
}
