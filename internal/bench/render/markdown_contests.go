package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/peers"
)

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
