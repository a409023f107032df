package render

import (
	"slices"
	"strconv"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/peers"
)

type pageTable struct {
	Title string
	Head  []string
	Rows  [][]pageCell
}

// A pageCell has its figure and, smaller, what is below it.
type pageCell struct{ Text, Below string }

// figureTable is the table of a run without a sweep, as on a terminal.
func figureTable(rep *report.Report) pageTable {
	t := pageTable{Title: "Figures", Head: []string{""}}
	for i := range rep.Modes {
		t.Head = append(t.Head, rep.Title(rep.Modes[i].Name))
	}
	for _, x := range rep.Parameters.Rows() {
		row := []pageCell{{Text: x.Label}}
		for i := range rep.Modes {
			cell := pageCell{Text: "-"}
			if s, ok := x.In(&rep.Modes[i]); ok {
				cell = spreadCell(s, x.Decimals)
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// searchTable has the result of each search.
func searchTable(rep *report.Report) pageTable {
	t := pageTable{Title: "Searches, packets per second", Head: []string{"round"}}
	most := 0
	for i := range rep.Modes {
		m := &rep.Modes[i]
		t.Head = append(t.Head, rep.Title(m.Name))
		if m.Throughput != nil {
			most = max(most, len(m.Throughput.Searches))
		}
	}
	for n := range most {
		row := []pageCell{{Text: strconv.Itoa(n + 1)}}
		for i := range rep.Modes {
			cell := pageCell{Text: "-"}
			if tp := rep.Modes[i].Throughput; tp != nil && n < len(tp.Searches) {
				cell = searchCell(&tp.Searches[n])
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// searchCell says what a search found, and what kept it from finding more.
func searchCell(s *report.Search) pageCell {
	c := pageCell{Text: plain.Fixed(s.Rate, 0), Below: "more is lost"}
	if s.Limit == report.LimitSender {
		c.Text, c.Below = "≥ "+c.Text, "more cannot be sent"
	}
	if len(s.Noise) > 0 {
		c.Text += " !"
	}
	return c
}

func spreadCell(s report.Spread, decimals int) pageCell {
	c := pageCell{Text: plain.Fixed(s.Median, decimals)}
	if low, high := plain.Fixed(s.Min, decimals), plain.Fixed(s.Max, decimals); low != high {
		c.Below = low + " to " + high
	}
	if s.Noisy != "" {
		c.Text += " !" // the notes say why
	}
	return c
}

// sweepTables returns a table for each figure of a sweep.
func sweepTables(s *report.Sweep) []pageTable {
	var all []pageTable
	for _, f := range figures(s) {
		t := pageTable{Title: f.heading(), Head: append([]string{s.Parameter}, modesOf(s)...)}
		for i := range s.Points {
			p := &s.Points[i]
			row := []pageCell{{Text: p.Value}}
			for _, name := range modesOf(s) {
				cell := pageCell{Text: "-"}
				if j := slices.IndexFunc(p.Modes, func(m report.Mode) bool { return m.Name == name }); j >= 0 {
					if sp, ok := f.of(&p.Modes[j]); ok {
						cell = spreadCell(sp, f.Decimals)
					}
				}
				row = append(row, cell)
			}
			t.Rows = append(t.Rows, row)
		}
		all = append(all, t)
	}
	return all
}

// peerTables returns a table for each contest.
func peerTables(rep *peers.Report) []pageTable {
	var all []pageTable
	for i := range rep.Contests {
		c := &rep.Contests[i]
		t := pageTable{Title: c.Title, Head: []string{"", c.Unit}}
		for _, base := range c.Bases {
			t.Head = append(t.Head, "× "+base)
		}
		t.Head = append(t.Head, "CPU ns/packet", "decided, %")
		cell := func(s *peers.Spread, decimals int) pageCell {
			if s == nil {
				return pageCell{Text: "-"}
			}
			return spreadCell(report.Spread{Spread: *s}, decimals)
		}
		for j := range c.Contestants {
			one := &c.Contestants[j]
			row := []pageCell{{Text: one.Title}, cell(one.Value, 0)}
			for _, base := range c.Bases {
				ratio := pageCell{Text: "-"}
				if s, ok := one.Ratios[base]; ok {
					ratio = cell(&s, 2)
				}
				row = append(row, ratio)
			}
			t.Rows = append(t.Rows, append(row, cell(one.CPU, 0), cell(one.Decided, 1)))
		}
		all = append(all, t)
	}
	return append(all, peerSettings(rep))
}

// peerSettings tells how each contestant was tuned.
func peerSettings(rep *peers.Report) pageTable {
	t := pageTable{Title: "How each was set", Head: []string{"contestant", ""}}
	done := make(map[string]bool)
	for i := range rep.Contests {
		for _, one := range rep.Contests[i].Contestants {
			if !done[one.Name] && one.Settings != "" {
				done[one.Name] = true
				t.Rows = append(t.Rows, []pageCell{{Text: one.Title}, {Below: one.Settings}})
			}
		}
	}
	return t
}
