package render

import (
	"fmt"
	"io"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
)

// Header says what is about to be done, where.
func Header(w io.Writer, rep *report.Report) {
	width := plain.TextWidth(w)
	plain.Field(w, width, "machine", describeMachine(&rep.Machine))
	for _, f := range describe(rep) {
		plain.Field(w, width, f.Name, f.Text)
	}
	fmt.Fprintln(w)
}

// Results prints what a run of any kind has found, and the books.
func Results(w io.Writer, rep *report.Report) {
	switch {
	case rep.Kind == report.KindSoak:
		printSoak(w, rep)
	case rep.Kind == report.KindThroughput:
		printThroughput(w, rep)
	case rep.Sweep != nil:
		printSweep(w, rep)
	default:
		printRounds(w, rep)
	}
}

// printRounds prints the table, how to read it, and the books.
func printRounds(w io.Writer, rep *report.Report) {
	width := plain.TextWidth(w)
	if rep.Interrupted {
		fmt.Fprintln(w, "interrupted: these are the figures so far")
	}
	printFigures(w, rep)
	fmt.Fprintln(w)
	printParts(w, width, rep)
	for _, text := range notes(rep) {
		plain.Field(w, width, "note", text)
	}
	printBooks(w, width, &rep.Books)
}

// printParts prints what does not fit into the table: by mode, the losses by
// cause, the sizes of batches, and what makes figures noisy.
func printParts(w io.Writer, width int, rep *report.Report) {
	for i := range rep.Modes {
		m := &rep.Modes[i]
		title := rep.Title(m.Name) + ": "
		if len(m.Rounds) > 0 && m.Lost != (report.Losses{Known: true}) {
			plain.Field(w, width, "loss", title+m.Lost.Describe()+"; warm-ups included")
		}
		if rep.Parameters.Latency && len(m.Rounds) > 0 {
			plain.Field(w, width, "sender", title+lateness(m))
		}
		if text := m.BatchSizes.Describe(); text != "" {
			plain.Field(w, width, "batches", title+text)
		}
		if text := noiseOfMode(m, rep.Parameters.Shown()); text != "" {
			plain.Field(w, width, "noisy", title+text)
		}
	}
}

// lateness says how well the senders kept their schedule.
func lateness(m *report.Mode) string {
	var lag time.Duration
	var missed, untimed uint64
	for i := range m.Rounds {
		l := &m.Rounds[i].Life
		lag, missed, untimed = max(lag, l.Lag), missed+l.MissedTurns, untimed+l.Untimed
	}
	text := fmt.Sprintf("up to %v late", lag.Round(time.Microsecond))
	if missed > 0 {
		text += fmt.Sprintf("; %s were not sent, and have no latency, because its buffer was full", plain.Commas(missed))
	}
	if untimed > 0 {
		text += fmt.Sprintf("; the receiver had no room for %s that arrived", plain.Commas(untimed))
	}
	return text
}

// printBooks prints what became of all packets.
func printBooks(w io.Writer, width int, b *report.Books) {
	plain.Field(w, width, "books", b.Describe())
	for _, p := range b.Problems {
		plain.Field(w, width, "", p)
	}
}
