package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// throughputRate is the figure of a search, in a mode's summary.
const throughputRate = "throughput_per_second"

// finish sums up the searches, if there are any.
func (t *throughput) finish() {
	if t == nil || len(t.Searches) == 0 {
		return
	}
	var rates []float64
	var noise [][]string
	for i := range t.Searches {
		rates = append(rates, t.Searches[i].Rate)
		noise = append(noise, t.Searches[i].Noise)
	}
	t.Rate = spreadOf(rates)
	t.Rate.Noisy = noiseIn(t.Rate, 0, noise)
}

// limited reports whether the senders could not offer more.
func (t *throughput) limited() bool {
	for i := range t.Searches {
		if t.Searches[i].Limit == limitSender {
			return true
		}
	}
	return false
}

// tried shows a trial on a terminal.
func (p *progress) tried(t *trial) {
	if !p.live {
		return
	}
	verdict := "nothing lost"
	if !t.Passed {
		verdict = commas(t.Lost.inKernel()) + " lost"
	}
	p.rewrite(fmt.Sprintf("%s/s: %s", fixed(t.Offered, 0), verdict))
}

// searched ends a search.
func (p *progress) searched(s *search) {
	if p.live {
		return
	}
	p.lines = true
	fmt.Fprintf(p.w, "round %s: %s\n", p.title, s.describe())
}

func (s *search) describe() string {
	text := fmt.Sprintf("%s packets/s without loss, in %s", fixed(s.Rate, 0), plural(len(s.Trials), "trial"))
	if s.Limit == limitSender {
		text += "; the senders offer no more"
	}
	return text
}

// printThroughput prints the results of searches, and the books.
func printThroughput(w io.Writer, rep *report) {
	width := textWidth(w)
	if rep.Interrupted {
		fmt.Fprintln(w, "interrupted: these are the searches so far")
	}
	points := []point{{Parameters: rep.Parameters, Setup: rep.Setup, Modes: rep.Modes}}
	column := ""
	if rep.Sweep != nil {
		points, column = rep.Sweep.Points, rep.Sweep.Parameter
	}
	lines := []string{column}
	rows := [][]string{{"mode", "packets/s", "min", "max", "Mbit/s", "trials", "full speed", "arrived", "limit", ""}}
	var notes []string
	for i := range points {
		pt := &points[i]
		for j := range pt.Modes {
			m := &pt.Modes[j]
			lines = append(lines, pt.Value)
			rows = append(rows, m.throughputCells(&pt.Parameters))
			if t := m.Throughput; t != nil && t.Rate.Noisy != "" {
				notes = append(notes, pt.title(m.Name)+": "+t.Rate.Noisy)
			}
		}
	}
	pad(lines)
	appendGroup(lines, rows, "")
	for _, line := range lines {
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	fmt.Fprintln(w)
	printSearchNotes(w, width, rep, points, notes)
	printBooks(w, width, &rep.Books)
}

// throughputCells are the row of a mode.
func (m *mode) throughputCells(p *parameters) []string {
	t := m.Throughput
	if t == nil || len(t.Searches) == 0 {
		return []string{p.title(m.Name), "-", "-", "-", "-", "-", "-", "-", "-", ""}
	}
	var trials int
	var full, carried []float64
	for i := range t.Searches {
		s := &t.Searches[i]
		trials += len(s.Trials)
		full = append(full, s.Trials[0].Offered)
		carried = append(carried, s.Trials[0].Offered*ratio(s.Trials[0].Arrived, s.Trials[0].Sent))
	}
	limit, mark := "loss", ""
	if t.limited() {
		limit = "sender"
	}
	if t.Rate.Noisy != "" {
		mark = "!"
	}
	return []string{
		p.title(m.Name), fixed(t.Rate.Median, 0), fixed(t.Rate.Min, 0), fixed(t.Rate.Max, 0),
		fixed(8e-6*t.Rate.Median*p.meanSize(), 0), fixed(float64(trials), 0),
		fixed(spreadOf(full).Median, 0), fixed(spreadOf(carried).Median, 0), limit, mark,
	}
}

// meanSize is the mean of the packets' bytes.
func (p *parameters) meanSize() float64 {
	o := options{IMIX: p.IMIX, Size: p.Size}
	sum := 0
	for _, size := range o.sizes() {
		sum += size
	}
	return float64(sum) / float64(len(o.sizes()))
}

func printSearchNotes(w io.Writer, width int, rep *report, points []point, noise []string) {
	p := &rep.Parameters
	var t *throughput
	limited := false
	for i := range points {
		for j := range points[i].Modes {
			if m := &points[i].Modes[j]; m.Throughput != nil {
				t, limited = m.Throughput, limited || m.Throughput.limited()
			}
		}
	}
	if t == nil {
		printField(w, width, "note", "nothing was measured")
		return
	}
	text := fmt.Sprintf("Throughput as in RFC 2544, section 26.1: the highest offered rate at which not one packet is lost. "+
		"Trials of %v, searched to %s %%; median, least and most of %s.", t.Trial, fixed(100*t.Resolution, 1), plural(p.Rounds, "search"))
	if t.Trials > 1 {
		text += fmt.Sprintf(" A rate has up to %d trials, of which most must lose nothing.", t.Trials)
	}
	if t.Trial < time.Minute {
		text += " The RFC wants trials of 60 s: -trial 60s."
	}
	printField(w, width, "note", text)
	printField(w, width, "note", "Loss is what the senders counted less what the kernel counted at the far end and what the handler "+
		"dropped. Full speed is what the senders can offer, and what of it arrived.")
	if limited {
		printField(w, width, "note", "sender: more than this could not be offered, so that the queue may carry more.")
	}
	printNoise(w, width, noise)
}
