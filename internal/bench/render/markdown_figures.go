package render

import (
	"fmt"
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
	case x >= 1000:
		return plain.Fixed(10*float64(int(x/10+0.5)), 0)
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

// contestIn finds a contest of a comparison.
func (q *quoter) contestIn(name, mode string) (*peers.Contest, error) {
	d, err := q.open(name)
	if err != nil {
		return nil, err
	}
	if d.Peers != nil {
		for i := range d.Peers.Contests {
			if c := &d.Peers.Contests[i]; c.Mode == mode {
				return c, nil
			}
		}
	}
	return nil, fmt.Errorf("%s has no contest %q", name, mode)
}

// A contestColumn is one column of a table of contests.
type contestColumn struct {
	mode string // of the contest
	head string
	unit unitText
	of   func(*peers.Contestant) *peers.Spread
}

func valueOf(one *peers.Contestant) *peers.Spread { return one.Value }

func cpuOf(one *peers.Contestant) *peers.Spread { return one.CPU }

func ratioTo(base string) func(*peers.Contestant) *peers.Spread {
	return func(one *peers.Contestant) *peers.Spread {
		if s, ok := one.Ratios[base]; ok {
			return &s
		}
		return nil
	}
}

// sideBySide is one table of one contest or several, with those who have a figure in
// each column.
func (q *quoter) sideBySide(name string, columns []contestColumn) (string, error) {
	g := figureGrid{head: []string{""}}
	cells := make(map[string][]report.Spread)
	var order []string
	for _, col := range columns {
		c, err := q.contestIn(name, col.mode)
		if err != nil {
			return "", err
		}
		g.head, g.unit = append(g.head, col.head), append(g.unit, col.unit)
		for i := range c.Contestants {
			one := &c.Contestants[i]
			if !slices.Contains(order, one.Title) {
				order = append(order, one.Title)
			}
			if s := col.of(one); s != nil {
				cells[one.Title] = append(cells[one.Title], report.Spread{Spread: *s})
			}
		}
	}
	for _, title := range order {
		if len(cells[title]) == len(columns) {
			g.rows = append(g.rows, gridRow{title, cells[title]})
		}
	}
	return g.markdown(), nil
}

// The contestants that ratios refer to.
const (
	bareLoop = "c-batch"
	noQueue  = "unqueued"
)

func hundredths(x float64) string { return plain.Fixed(x, 2) }

func gigabits(x float64) string { return three(x / 1e9) }

// rivals is the table of those who decide packets, at the most and at a pace.
func (q *quoter) rivals(name string) (string, error) {
	return q.sideBySide(name, []contestColumn{
		{peers.Saturated, "packets/s ÷ the bare loop's", hundredths, ratioTo(bareLoop)},
		{peers.Paced, "CPU of a packet ÷ the bare loop's", hundredths, ratioTo(bareLoop)},
	})
}

// routed is the table of TCP through a router.
func (q *quoter) routed(name string) (string, error) {
	return q.sideBySide(name, []contestColumn{
		{peers.TCP, "on a CPU of its own, Gbit/s", gigabits, valueOf},
		{peers.TCPShared, "on shared CPUs, Gbit/s", gigabits, valueOf},
		{peers.TCPShared, "÷ without a queue", hundredths, ratioTo(noQueue)},
	})
}

// span tells from where to where a contestant's rounds reach: for a machine that
// drifts.
func (q *quoter) span(name, mode, contestant string) (string, error) {
	c, err := q.contestIn(name, mode)
	if err != nil {
		return "", err
	}
	for _, one := range c.Contestants {
		if one.Name == contestant && one.Value != nil {
			return fmt.Sprintf("%s to %s %s", three(one.Value.Min), three(one.Value.Max), c.Unit), nil
		}
	}
	return "", fmt.Errorf("%s has no %q in %s", name, contestant, mode)
}

// contest is the table of one contest, with the ratios to each of its bases.
func (q *quoter) contest(name, mode string) (string, error) {
	c, err := q.contestIn(name, mode)
	if err != nil {
		return "", err
	}
	columns := []contestColumn{{mode, c.Unit, three, valueOf}}
	if c.Unit == "bits/s" {
		columns[0].head, columns[0].unit = "Gbit/s", gigabits
	}
	for _, base := range c.Bases {
		columns = append(columns, contestColumn{mode, "÷ " + base, hundredths, ratioTo(base)})
	}
	if !c.LessIsBetter && !slices.ContainsFunc(c.Contestants, func(one peers.Contestant) bool { return one.CPU == nil }) {
		columns = append(columns, contestColumn{mode, "CPU ns/packet", three, cpuOf})
	}
	return q.sideBySide(name, columns)
}

// settings is a list of how each contestant was tuned.
func (q *quoter) settings(name string) (string, error) {
	d, err := q.open(name)
	switch {
	case err != nil:
		return "", err
	case d.Peers == nil:
		return "", fmt.Errorf("%s is not a comparison with peers", name)
	}
	var lines []string
	for _, row := range peerSettings(d.Peers).Rows {
		lines = append(lines, fmt.Sprintf("- **%s**: %s", row[0].Text, row[1].Below))
	}
	return strings.Join(lines, "\n"), nil
}
