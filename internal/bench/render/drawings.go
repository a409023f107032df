package render

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/plot"
)

// A drawing is one plot of a document.
type drawing struct {
	name    string // for a file
	title   string
	caption string // how to read it
	svg     func(width int, standalone bool) []byte
}

func drawChart(name, caption string, c *plot.Chart) drawing {
	return drawing{name, c.Title, caption, func(width int, standalone bool) []byte {
		return c.SVG(width, 230+width/6, standalone)
	}}
}

func drawBars(name, caption string, b *plot.Bars) drawing {
	return drawing{name, b.Title, caption, b.SVG}
}

// colour is what a mode has in all drawings. The path without a queue has none: the
// others are compared with it.
func colour(mode string) int {
	return max(0, slices.Index([]string{report.ModeUnqueued, report.ModeInline, report.ModePool}, mode))
}

const medians = "Medians of the rounds, with the least and the most."

// runDrawings returns the drawings of a run.
func runDrawings(rep *report.Report) []drawing {
	var all []drawing
	if rep.Sweep != nil {
		return sweepDrawings(rep.Sweep)
	}
	for _, draw := range []func(*report.Report) (drawing, bool){
		rateBars, throughputBars, latencyChart, roundsChart, batchChart, soakChart,
	} {
		if d, ok := draw(rep); ok {
			all = append(all, d)
		}
	}
	return all
}

// rateBars has the main figure of each mode.
func rateBars(rep *report.Report) (drawing, bool) {
	x := rep.Parameters.Shown()
	b := &plot.Bars{Title: heading(x), Label: x.Label}
	for i := range rep.Modes {
		if s, ok := x.In(&rep.Modes[i]); ok {
			b.Bars = append(b.Bars, bar(rep.Title(rep.Modes[i].Name), rep.Modes[i].Name, x, s))
		}
	}
	return drawBars("rate", medians, b), len(b.Bars) > 0
}

func bar(name, mode string, x report.Metric, s report.Spread) plot.Bar {
	text := plain.Fixed(s.Median, x.Decimals)
	return plot.Bar{
		Name: name, Colour: colour(mode), Value: s.Median, Low: s.Min, High: s.Max, Text: text,
		Note: fmt.Sprintf("%s: %s (%s to %s)", name, text, plain.Fixed(s.Min, x.Decimals), plain.Fixed(s.Max, x.Decimals)),
	}
}

// heading is a metric's label for people who see no table.
func heading(x report.Metric) string {
	switch x.Name {
	case report.ArrivedRate:
		return "Packets that arrived, per second"
	case report.VerdictRate:
		return "Verdicts per second"
	case report.Goodput:
		return "TCP goodput, Gbit/s"
	case report.ConnectionRate:
		return "Connections per second"
	case report.CPUCost:
		return "CPU time per packet, ns"
	case report.LostShare:
		return "Packets lost in the kernel, %"
	case report.OfUnqueued:
		return "Share of the path without a queue, %"
	}
	return strings.ToUpper(x.Label[:1]) + x.Label[1:]
}

func throughputBars(rep *report.Report) (drawing, bool) {
	x := report.Metric{Label: "packets/s"}
	b := &plot.Bars{Title: "RFC 2544 throughput: the highest rate without loss", Label: "packets/s"}
	for i := range rep.Modes {
		if m := &rep.Modes[i]; m.Throughput != nil && len(m.Throughput.Searches) > 0 {
			b.Bars = append(b.Bars, bar(rep.Title(m.Name), m.Name, x, m.Throughput.Rate))
		}
	}
	return drawBars("throughput", "Medians of the searches, with the least and the most.", b), len(b.Bars) > 0
}

// latencyChart has each mode's distribution on the axis of HDR histograms.
func latencyChart(rep *report.Report) (drawing, bool) {
	c := &plot.Chart{
		Title: "Latency by percentile",
		X:     plot.Axis{Label: "percentile", Scale: plot.Percentile, Format: plot.Percent},
		Y:     plot.Axis{Label: "latency", Scale: plot.Log, Format: duration},
	}
	for i := range rep.Modes {
		m := &rep.Modes[i]
		l := m.Latency
		if l == nil {
			continue
		}
		s := plot.Series{Name: rep.Title(m.Name), Colour: colour(m.Name), Plain: true}
		for _, p := range distribution(l) {
			s.Points = append(s.Points, plot.Point{X: p.Percent, Y: float64(p.Time)})
		}
		c.Series = append(c.Series, s)
	}
	return drawChart("latency", "Of all rounds together, or of those that nothing disturbed where they are half or more, timed from when each was due. Each step to the right has a tenth of what is before it.", c), len(c.Series) > 0
}

// distribution returns the points of a latency, or else its percentiles.
func distribution(l *report.Latency) []report.Percentile {
	if len(l.Points) > 0 {
		return l.Points
	}
	return []report.Percentile{
		{Percent: 50, Time: l.P50}, {Percent: 90, Time: l.P90}, {Percent: 99, Time: l.P99},
		{Percent: 99.9, Time: l.P999}, {Percent: 99.99, Time: l.P9999},
	}
}

// duration writes nanoseconds with a unit that suits them.
func duration(ns float64) string {
	for _, u := range []struct {
		unit float64
		name string
	}{{1e9, " s"}, {1e6, " ms"}, {1e3, " µs"}} {
		if ns >= 0.9995*u.unit {
			return plot.SI(ns/u.unit) + u.name
		}
	}
	if ns == 0 {
		return "0"
	}
	return plot.SI(ns) + " ns"
}

// roundsChart shows how steady the machine was.
func roundsChart(rep *report.Report) (drawing, bool) {
	x := rep.Parameters.Shown()
	c := &plot.Chart{
		Title: heading(x) + ", by round",
		X:     plot.Axis{Label: "round", Format: plot.SI},
		Y:     plot.Axis{Label: x.Label, FromZero: true},
	}
	most := 0
	for i := range rep.Modes {
		m := &rep.Modes[i]
		s := plot.Series{Name: rep.Title(m.Name), Colour: colour(m.Name)}
		for j := range m.Rounds {
			rd := &m.Rounds[j]
			most = max(most, rd.Round)
			if v := x.Of(rd); !math.IsNaN(v) {
				s.Points = append(s.Points, plot.Point{
					X: float64(rd.Round), Y: v, Low: v, High: v,
					Note: fmt.Sprintf("%s, round %d: %s", s.Name, rd.Round, plain.Fixed(v, x.Decimals)),
				})
			}
		}
		if len(s.Points) > 0 {
			c.Series = append(c.Series, s)
		}
	}
	for n := 1; n <= most; n++ {
		c.X.Ticks = append(c.X.Ticks, float64(n))
	}
	return drawChart("rounds", "Modes take turns. Where they rise and fall together, the machine did.", c), most > 1
}

// batchChart shows how many packets a receive call brought.
func batchChart(rep *report.Report) (drawing, bool) {
	c := &plot.Chart{
		Title: "Packets for each receive call",
		X: plot.Axis{Label: "packets, from this many on", Scale: plot.Log, Format: func(v float64) string {
			return plain.Fixed(v, 0)
		}},
		Y: plot.Axis{Label: "calls, %", FromZero: true},
	}
	most := 0
	for i := range rep.Modes {
		m := &rep.Modes[i]
		var sum uint64
		used := 0
		for j, n := range m.BatchSizes {
			sum += n
			if n > 0 {
				used = j + 1
			}
		}
		if sum == 0 {
			continue
		}
		s := plot.Series{Name: rep.Title(m.Name), Colour: colour(m.Name)}
		most = max(most, used)
		for j, n := range m.BatchSizes[:used] {
			from := uint64(1) << j
			share := 100 * float64(n) / float64(sum)
			s.Points = append(s.Points, plot.Point{
				X: float64(from), Y: share, Low: share, High: share,
				Note: fmt.Sprintf("%s: %s %% of calls brought %d to %d", s.Name, plain.Fixed(share, 1), from, 2*from-1),
			})
		}
		c.Series = append(c.Series, s)
	}
	for j := range most {
		c.X.Ticks = append(c.X.Ticks, float64(uint64(1)<<j))
	}
	return drawChart("batches", "Each mark stands for calls that brought as many packets or more, and fewer than the next.", c), most > 0
}

func soakChart(rep *report.Report) (drawing, bool) {
	c := &plot.Chart{
		Title: "Resident memory under load",
		X:     plot.Axis{Label: "time", Format: duration},
		Y:     plot.Axis{Label: "MiB", FromZero: true},
	}
	for i := range rep.Soaks {
		k := &rep.Soaks[i]
		s := plot.Series{Name: rep.Title(k.Mode), Colour: colour(k.Mode), Plain: true}
		for j := range k.Samples {
			s.Points = append(s.Points, plot.Point{X: float64(k.Samples[j].At / time.Nanosecond), Y: float64(k.Samples[j].Resident) / (1 << 20)})
		}
		c.Series = append(c.Series, s)
	}
	return drawChart("memory", "The first quarter is warm-up.", c), len(c.Series) > 0
}
