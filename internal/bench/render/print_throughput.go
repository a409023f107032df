package render

import (
	"fmt"
	"io"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
)

// printThroughput prints the results of searches, and the books.
func printThroughput(w io.Writer, rep *report.Report) {
	width := plain.TextWidth(w)
	if rep.Interrupted {
		fmt.Fprintln(w, "interrupted: these are the searches so far")
	}
	points, column := rep.Points(), ""
	if rep.Sweep != nil {
		column = rep.Sweep.Parameter
	}
	lines := []string{column}
	rows := [][]string{{"mode", "packets/s", "min", "max", "Mbit/s", "trials", "full speed", "arrived", "limit", ""}}
	var notes []string
	for i := range points {
		pt := &points[i]
		for j := range pt.Modes {
			m := &pt.Modes[j]
			lines = append(lines, pt.Value)
			rows = append(rows, throughputCells(m, &pt.Parameters))
			if t := m.Throughput; t != nil && t.Rate.Noisy != "" {
				notes = append(notes, pt.Title(m.Name)+": "+t.Rate.Noisy)
			}
		}
	}
	plain.Table(w, lines, rows)
	fmt.Fprintln(w)
	printSearchNotes(w, width, rep, points, notes)
	printBooks(w, width, &rep.Books)
}

// throughputCells is the row of a mode.
func throughputCells(m *report.Mode, p *report.Parameters) []string {
	t := m.Throughput
	if t == nil || len(t.Searches) == 0 {
		return []string{p.Title(m.Name), "-", "-", "-", "-", "-", "-", "-", "-", ""}
	}
	var trials int
	var full, carried []float64
	for i := range t.Searches {
		s := &t.Searches[i]
		trials += len(s.Trials)
		full = append(full, s.Trials[0].Offered)
		carried = append(carried, s.Trials[0].Offered*report.Ratio(s.Trials[0].Arrived, s.Trials[0].Sent))
	}
	limit, mark := "loss", ""
	if t.Limited() {
		limit = "sender"
	}
	if t.Rate.Noisy != "" {
		mark = "!"
	}
	return []string{
		p.Title(m.Name), plain.Fixed(t.Rate.Median, 0), plain.Fixed(t.Rate.Min, 0), plain.Fixed(t.Rate.Max, 0),
		plain.Fixed(8e-6*t.Rate.Median*meanSize(p), 0), plain.Fixed(float64(trials), 0),
		plain.Fixed(report.SpreadOf(full).Median, 0), plain.Fixed(report.SpreadOf(carried).Median, 0), limit, mark,
	}
}

// meanSize is the mean size of packets in bytes.
func meanSize(p *report.Parameters) float64 {
	sum, all := 0, report.Sizes(p.IMIX, p.Size)
	for _, size := range all {
		sum += size
	}
	return float64(sum) / float64(len(all))
}

func printSearchNotes(w io.Writer, width int, rep *report.Report, points []report.Point, noise []string) {
	p := &rep.Parameters
	var t *report.Throughput
	limited := false
	for i := range points {
		for j := range points[i].Modes {
			if m := &points[i].Modes[j]; m.Throughput != nil {
				t, limited = m.Throughput, limited || m.Throughput.Limited()
			}
		}
	}
	if t == nil {
		plain.Field(w, width, "note", "nothing was measured")
		return
	}
	text := fmt.Sprintf("Throughput as in RFC 2544, section 26.1: the highest offered rate at which not one packet is lost. "+
		"Trials of %v, searched to %s %%; median, least and most of %s.", t.Trial, plain.Fixed(100*t.Resolution, 1), plain.Plural(p.Rounds, "search"))
	if t.Trials > 1 {
		text += fmt.Sprintf(" A rate has up to %d trials, of which most must lose nothing.", t.Trials)
	}
	if t.Trial < time.Minute {
		text += " The RFC wants trials of 60 s: -trial 60s."
	}
	plain.Field(w, width, "note", text)
	plain.Field(w, width, "note", "Loss is what the senders counted, less what the kernel counted at the far end and what the handler "+
		"dropped. Full speed is what the senders can offer; arrived is what came through of that.")
	if limited {
		plain.Field(w, width, "note", "sender: the senders could not offer more than this, so the queue may carry more.")
	}
	printNoise(w, width, noise)
}
