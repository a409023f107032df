package render

import (
	"fmt"
	"slices"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/plot"
)

// swept are the metrics that a sweep shows, as far as it has them.
var swept = []string{
	report.VerdictRate, report.ArrivedRate, report.Goodput, report.ConnectionRate, report.OfUnqueued, report.CPUCost, report.LostShare,
	report.LatencyP50, report.LatencyP99, report.LatencyP999, report.ConnectionP50, report.ConnectionP99,
}

// A sweptFigure is one figure over the points of a sweep.
type sweptFigure struct {
	report.Metric
	of func(*report.Mode) (report.Spread, bool)
}

// figures returns the figures that at least one point has.
func figures(s *report.Sweep) []sweptFigure {
	all := []sweptFigure{{
		report.Metric{Name: report.ThroughputRate, Label: "packets/s"},
		func(m *report.Mode) (report.Spread, bool) {
			if m.Throughput == nil || len(m.Throughput.Searches) == 0 {
				return report.Spread{}, false
			}
			return m.Throughput.Rate, true
		},
	}}
	for _, name := range swept {
		if name == report.ArrivedRate && !arrivesLess(s) {
			continue
		}
		x := report.MetricNamed(name)
		all = append(all, sweptFigure{x, x.In})
	}
	return slices.DeleteFunc(all, func(f sweptFigure) bool {
		return !slices.ContainsFunc(s.Points, func(p report.Point) bool {
			return slices.ContainsFunc(p.Modes, func(m report.Mode) bool { _, ok := f.of(&m); return ok })
		})
	})
}

// arrivesLess tells that what arrived is not just what was decided.
func arrivesLess(s *report.Sweep) bool {
	return slices.ContainsFunc(s.Points, func(p report.Point) bool {
		return p.Parameters.Handler != report.HandleAccept || slices.Contains(p.Parameters.Modes, report.ModeUnqueued)
	})
}

func (f *sweptFigure) heading() string {
	if f.Name == report.ThroughputRate {
		return "RFC 2544 throughput, packets per second"
	}
	return heading(f.Metric)
}

// modesOf returns the names of all modes that were measured, in their order.
func modesOf(s *report.Sweep) []string {
	var names []string
	for _, p := range s.Points {
		for _, m := range p.Modes {
			if !slices.Contains(names, m.Name) {
				names = append(names, m.Name)
			}
		}
	}
	return names
}

// sweepDrawings returns a drawing for each figure: lines over numbers, bars for
// names.
func sweepDrawings(s *report.Sweep) []drawing {
	var all []drawing
	for _, f := range figures(s) {
		title := fmt.Sprintf("%s, by %s", f.heading(), s.Parameter)
		if s.Numeric {
			all = append(all, drawChart(f.Name, medians, sweepChart(s, &f, title)))
		} else {
			all = append(all, drawBars(f.Name, medians, sweepBars(s, &f, title)))
		}
	}
	return all
}

func sweepChart(s *report.Sweep, f *sweptFigure, title string) *plot.Chart {
	c := &plot.Chart{
		Title: title,
		X:     plot.Axis{Label: s.Parameter},
		Y:     plot.Axis{Label: f.Label, FromZero: true},
	}
	var least, most float64
	for i, p := range s.Points {
		if i == 0 || p.Number < least {
			least = p.Number
		}
		most = max(most, p.Number)
		c.X.Ticks = append(c.X.Ticks, p.Number)
	}
	slices.Sort(c.X.Ticks)
	// On a logarithmic axis values that grow by factors are equally far apart.
	if least > 0 && most/least >= 8 {
		c.X.Scale = plot.Log
	}
	for _, name := range modesOf(s) {
		line := plot.Series{Name: name, Colour: colour(name)}
		for i := range s.Points {
			p := &s.Points[i]
			for j := range p.Modes {
				if sp, ok := f.of(&p.Modes[j]); ok && p.Modes[j].Name == name {
					line.Points = append(line.Points, plot.Point{
						X: p.Number, Y: sp.Median, Low: sp.Min, High: sp.Max,
						Note: fmt.Sprintf("%s, %s %s: %s (%s to %s)", name, s.Parameter, p.Value,
							plain.Fixed(sp.Median, f.Decimals), plain.Fixed(sp.Min, f.Decimals), plain.Fixed(sp.Max, f.Decimals)),
					})
				}
			}
		}
		slices.SortFunc(line.Points, func(a, b plot.Point) int { return int(a.X - b.X) })
		if len(line.Points) > 0 {
			c.Series = append(c.Series, line)
		}
	}
	return c
}

func sweepBars(s *report.Sweep, f *sweptFigure, title string) *plot.Bars {
	b := &plot.Bars{Title: title, Label: f.Label}
	for i := range s.Points {
		p := &s.Points[i]
		for j := range p.Modes {
			if sp, ok := f.of(&p.Modes[j]); ok {
				name := p.Modes[j].Name
				b.Bars = append(b.Bars, bar(fmt.Sprintf("%s, %s", p.Value, name), name, f.Metric, sp))
			}
		}
	}
	return b
}
