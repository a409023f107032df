package render

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/peers"
	"github.com/goipq/goipq/internal/plot"
)

// A figureGrid is a table of medians for a page that is published: every cell has a
// figure that can be relied on. What cannot is left out, and named below.
type figureGrid struct {
	head []string   // above the first column, and above each figure's
	rows []gridRow  // in their order
	out  []string   // what was left out
	unit []unitText // of each column
}

// A gridRow is its first column, and a figure for each other one.
type gridRow struct {
	name  string
	cells []report.Spread
}

// A unitText writes a figure with three digits.
type unitText func(float64) string

// markdown writes the table, without what is noisy.
func (g *figureGrid) markdown() string {
	rows, columns := g.solid()
	t := pageTable{Head: []string{g.head[0]}}
	for _, c := range columns {
		t.Head = append(t.Head, g.head[1+c])
	}
	for _, r := range rows {
		cells := []pageCell{{Text: r.name}}
		for _, c := range columns {
			cells = append(cells, pageCell{Text: estimate(r.cells[c], g.unit[c])})
		}
		t.Rows = append(t.Rows, cells)
	}
	var text string
	if len(columns) > 0 && len(t.Rows) > 0 {
		text = t.markdown()
	}
	if len(g.out) > 0 {
		text += fmt.Sprintf("\nLeft out, since the rounds do not tell them well enough: %s.\n", strings.Join(g.out, "; "))
	}
	return strings.Trim(text, "\n")
}

// noisy tells that a figure is not to be relied on.
func noisy(s report.Spread) bool { return s.Noisy != "" || s.Percent() > peers.MaxPercent }

// solid returns the rows and the columns in which no figure is noisy. It leaves out
// whichever has the largest share of noisy ones, until there are none: a column
// before a row that has as many.
func (g *figureGrid) solid() (rows []gridRow, columns []int) {
	rows = slices.Clone(g.rows)
	for i := range g.unit {
		columns = append(columns, i)
	}
	for {
		most, row, column := 0.0, -1, -1
		share := func(n, of int) bool {
			more := float64(n)/float64(of) > most
			if more {
				most = float64(n) / float64(of)
			}
			return more
		}
		for i, c := range columns {
			n := 0
			for _, r := range rows {
				if noisy(r.cells[c]) {
					n++
				}
			}
			if share(n, len(rows)) {
				row, column = -1, i
			}
		}
		for i, r := range rows {
			n := 0
			for _, c := range columns {
				if noisy(r.cells[c]) {
					n++
				}
			}
			if share(n, len(columns)) {
				row, column = i, -1
			}
		}
		switch {
		case row >= 0:
			g.out = append(g.out, rows[row].name)
			rows = slices.Delete(rows, row, row+1)
		case column >= 0:
			g.out = append(g.out, g.head[1+columns[column]])
			columns = slices.Delete(columns, column, column+1)
		default:
			return rows, columns
		}
	}
}

// published returns a document for drawings, without what is noisy.
func published(d *report.Document) *report.Document {
	out := *d
	if d.Peers != nil {
		rep := *d.Peers
		rep.Contests = slices.Clone(rep.Contests)
		for i := range rep.Contests {
			c := &rep.Contests[i]
			c.Contestants = slices.DeleteFunc(slices.Clone(c.Contestants), func(one peers.Contestant) bool {
				return one.Value == nil || one.Value.Percent() > peers.MaxPercent
			})
		}
		out.Peers = &rep
		return &out
	}
	rep := *d.Run
	rep.Modes = solidModes(rep.Modes)
	if rep.Sweep != nil {
		sweep := *rep.Sweep
		sweep.Points = slices.Clone(sweep.Points)
		for i := range sweep.Points {
			sweep.Points[i].Modes = solidModes(sweep.Points[i].Modes)
		}
		rep.Sweep = &sweep
	}
	out.Run = &rep
	return &out
}

// solidModes returns the modes with the figures that can be relied on.
func solidModes(modes []report.Mode) []report.Mode {
	modes = slices.Clone(modes)
	for i := range modes {
		m := &modes[i]
		m.Summary = maps.Clone(m.Summary)
		maps.DeleteFunc(m.Summary, func(_ string, s report.Spread) bool { return noisy(s) })
	}
	return modes
}

// estimate writes a median, and how well it is known.
func estimate(s report.Spread, unit unitText) string {
	text := unit(s.Median)
	if p := plain.Fixed(s.Percent(), 0); p != "0" {
		text += " ±" + p + " %"
	}
	return text
}

// three writes a number with three digits.
func three(x float64) string {
	switch {
	case x >= 1e5:
		return plot.SI(x)
	case x >= 999.5:
		unit := math.Pow10(int(math.Log10(x)) - 2)
		return plain.Fixed(unit*math.Round(x/unit), 0)
	case x >= 99.95:
		return plain.Fixed(x, 0)
	case x >= 9.995:
		return plain.Fixed(x, 1)
	}
	return plain.Fixed(x, 2)
}

// figures is the table of a report: of a run's modes, of a search's, or of a sweep's
// values.
func (q *quoter) figures(name string) (string, error) {
	d, err := q.open(name)
	switch {
	case err != nil:
		return "", err
	case d.Run == nil:
		return "", fmt.Errorf("%s is a comparison with peers: quote its contests", name)
	case d.Run.Sweep != nil:
		return sweepGrid(d.Run.Sweep), nil
	}
	return modeGrid(d.Run), nil
}

// columns are the metrics that a published table has, the one by which a run is
// judged first.
func columns(p *report.Parameters) []report.Metric {
	if p.Trial > 0 {
		return []report.Metric{{Name: report.ThroughputRate, Label: "packets/s without loss"}}
	}
	if p.Latency {
		return []report.Metric{report.MetricNamed(report.LatencyP50), report.MetricNamed(report.LatencyP99), report.MetricNamed(report.LatencyP999)}
	}
	all := []report.Metric{p.Shown()}
	if slices.Contains(p.Modes, report.ModeUnqueued) {
		all = append(all, report.MetricNamed(report.OfUnqueued))
	}
	if p.Churn() {
		all = append(all, report.MetricNamed(report.ConnectionP50), report.MetricNamed(report.ConnectionP99))
	}
	if p.Bypass != nil {
		return all // the senders pay for what is bypassed
	}
	return append(all, report.MetricNamed(report.CPUCost))
}

// modeGrid has a row for each mode. The path without a queue, which has no CPU time of
// a consumer, is told below.
func modeGrid(rep *report.Report) string {
	p := &rep.Parameters
	metrics := columns(p)
	g := figureGrid{head: []string{""}}
	for _, x := range metrics {
		g.head, g.unit = append(g.head, x.Label), append(g.unit, three)
	}
	bare := ""
	for i := range rep.Modes {
		m := &rep.Modes[i]
		row := gridRow{name: m.Name}
		for _, x := range metrics {
			if s, ok := x.In(m); ok {
				row.cells = append(row.cells, s)
			}
		}
		switch {
		case len(row.cells) == len(metrics):
			g.rows = append(g.rows, row)
		case m.Name == report.ModeUnqueued && !noisy(row.cells[0]):
			bare = fmt.Sprintf("\n\nWithout a queue: %s %s.", estimate(row.cells[0], three), metrics[0].Label)
		}
	}
	return g.markdown() + bare
}

// sweepGrid has a row for each value, and the figures of each mode side by side.
func sweepGrid(s *report.Sweep) string {
	var g figureGrid
	g.head = []string{s.Parameter}
	for i := range s.Points {
		pt := &s.Points[i]
		row := gridRow{name: pt.Value}
		for j := range pt.Modes {
			m := &pt.Modes[j]
			if m.Name == report.ModeUnqueued {
				continue
			}
			for _, x := range columns(&pt.Parameters) {
				sp, ok := x.In(m)
				if !ok {
					continue
				}
				if i == 0 {
					g.head, g.unit = append(g.head, m.Name+": "+x.Label), append(g.unit, three)
				}
				row.cells = append(row.cells, sp)
			}
		}
		if len(row.cells) == len(g.unit) {
			g.rows = append(g.rows, row)
		}
	}
	return g.markdown()
}
