package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// printResults prints the table, how to read it, and the books.
func printResults(w io.Writer, rep *report) {
	width := textWidth(w)
	if rep.Interrupted {
		fmt.Fprintln(w, "interrupted: these are the figures so far")
	}
	printTable(w, rep)
	fmt.Fprintln(w)
	printParts(w, width, rep)
	for _, text := range rep.notes() {
		printField(w, width, "note", text)
	}
	printBooks(w, width, &rep.Books)
}

// printParts prints what does not fit into the table: by mode, the losses by
// cause, the sizes of batches, and what makes figures noisy.
func printParts(w io.Writer, width int, rep *report) {
	for i := range rep.Modes {
		m := &rep.Modes[i]
		title := rep.title(m.Name) + ": "
		if len(m.Rounds) > 0 && m.Lost != (losses{Known: true}) {
			printField(w, width, "loss", title+m.Lost.describe()+"; warm-ups included")
		}
		if rep.Parameters.Latency && len(m.Rounds) > 0 {
			printField(w, width, "sender", title+m.lateness())
		}
		if text := m.BatchSizes.describe(); text != "" {
			printField(w, width, "batches", title+text)
		}
		if text := m.noise(rep.Parameters.shown()); text != "" {
			printField(w, width, "noisy", title+text)
		}
	}
}

// lateness says how well the senders kept their schedule.
func (m *mode) lateness() string {
	var lag time.Duration
	var missed, untimed uint64
	for i := range m.Rounds {
		l := &m.Rounds[i].Life
		lag, missed, untimed = max(lag, l.Lag), missed+l.MissedTurns, untimed+l.Untimed
	}
	text := fmt.Sprintf("up to %v late", lag.Round(time.Microsecond))
	if missed > 0 {
		text += fmt.Sprintf("; %s were not sent, and have no latency, because its buffer was full", commas(missed))
	}
	if untimed > 0 {
		text += fmt.Sprintf("; %s arrived that the receiver had no room for", commas(untimed))
	}
	return text
}

// describe lists the causes of loss.
func (l losses) describe() string {
	var parts []string
	for _, x := range []struct {
		n    uint64
		text string
	}{
		{l.QueueFull, "found the queue full"},
		{l.SocketFull, "its socket's buffer full"},
		{l.Handler, "dropped by the handler"},
		{l.BeforeQueue, "lost before the queue"},
		{l.BehindQueue, "lost behind it"},
	} {
		if x.n == 0 {
			continue
		}
		text := commas(x.n) + " " + x.text
		if !l.Known && x.n == l.QueueFull {
			text = "~" + text
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return "nothing lost"
	}
	return strings.Join(parts, ", ")
}

// describe says which share of the batches had which size.
func (b *batchSizes) describe() string {
	var all uint64
	for _, n := range b {
		all += n
	}
	var parts []string
	for i, n := range b {
		if n == 0 {
			continue
		}
		size := "1"
		if i > 0 {
			size = fmt.Sprintf("%d-%d", 1<<i, 2<<i-1)
		}
		parts = append(parts, fmt.Sprintf("%s %% of %s", fixed(100*ratio(n, all), 1), size))
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ", ") + " packets"
}

// noise says how noisy the figures are: of the main one why, and how many others
// there are.
func (m *mode) noise(main metric) string {
	var others int
	for name, s := range m.Summary {
		if s.Noisy != "" && name != main.name {
			others++
		}
	}
	text := m.Summary[main.name].Noisy
	switch {
	case text == "" && others == 0:
		return ""
	case text == "":
		return fmt.Sprintf("%s, but not %s", plural(others, "figure"), main.label)
	case others == 0:
		return main.label + " " + text
	}
	return fmt.Sprintf("%s %s; and so are %s more", main.label, text, plural(others, "figure"))
}

func printBooks(w io.Writer, width int, b *books) {
	printField(w, width, "books", b.describe())
	for _, p := range b.Problems {
		printField(w, width, "", p)
	}
}

func (b *books) describe() string {
	if b.Balanced {
		return "balanced: " + b.sum()
	}
	return "DO NOT BALANCE: " + b.sum()
}

func (b *books) sum() string {
	sign := ""
	if !b.LostKnown {
		sign = "~"
	}
	text := ""
	if b.Sent > 0 || b.Ruled == 0 {
		text = commas(b.Sent) + " sent, "
	}
	text += fmt.Sprintf("%s queued by the rule: %s received, %s decided, %s%s lost in the kernel",
		commas(b.Ruled), commas(b.Received), commas(b.Verdicts), sign, commas(b.Lost))
	if b.Bypassed > 0 {
		text += fmt.Sprintf("; %s bypassed the queue", commas(b.Bypassed))
	}
	if b.Passed > 0 {
		text += fmt.Sprintf("; %s passed unqueued", commas(b.Passed))
	}
	if b.Bytes > 0 {
		text += fmt.Sprintf("; %s bytes of TCP arrived", commas(b.Bytes))
	}
	return text
}

// finish makes the summaries.
func (rep *report) finish(interrupted bool) {
	rep.Interrupted = interrupted
	if rep.Sweep != nil {
		for i := range rep.Sweep.Points {
			rep.at(&rep.Sweep.Points[i]).finish(interrupted)
		}
	}
	rep.compare()
	for i := range rep.Modes {
		m := &rep.Modes[i]
		m.Summary = rep.Parameters.summarise(m)
		m.Throughput.finish()
		if m.Throughput != nil && len(m.Throughput.Searches) > 0 {
			m.Summary[throughputRate] = m.Throughput.Rate
		}
		m.Lost.Known = true
		all := make(times)
		for j := range m.Rounds {
			rd := &m.Rounds[j]
			m.Lost = m.Lost.plus(rd.Life.Lost)
			m.BatchSizes.add(rd.BatchSizes, 1)
			all.add(rd.times)
		}
		if m.Latency = all.latency(); m.Latency != nil {
			m.Latency.Points = all.points()
		}
	}
}
