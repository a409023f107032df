package render

import (
	"fmt"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/peers"
	"github.com/goipq/goipq/internal/plot"
)

// peerDrawings returns a drawing for each contest, with all contestants side by
// side.
func peerDrawings(rep *peers.Report) []drawing {
	var all []drawing
	for i := range rep.Contests {
		c := &rep.Contests[i]
		b := &plot.Bars{Title: c.Title, Label: c.Unit}
		for j := range c.Contestants {
			if one := &c.Contestants[j]; one.Value != nil {
				b.Bars = append(b.Bars, peerBar(c, one))
			}
		}
		if len(b.Bars) == 0 {
			continue
		}
		caption := c.Load + ". " + medians
		if len(c.Bases) > 0 {
			caption += fmt.Sprintf(" × is the ratio to %s, formed in each round.", c.Bases[0])
		}
		if c.LessIsBetter {
			caption += " Less is better."
		}
		all = append(all, drawBars(c.Mode, caption, b))
	}
	return all
}

func peerBar(c *peers.Contest, one *peers.Contestant) plot.Bar {
	v := *one.Value
	text := plot.SI(v.Median)
	if len(c.Bases) > 0 {
		if ratio, ok := one.Ratios[c.Bases[0]]; ok && one.Name != c.Bases[0] {
			text += fmt.Sprintf("  × %s", plain.Fixed(ratio.Median, 2))
		}
	}
	colour := 0 // a rival
	if report.IsOurs(one.Name) {
		colour = 1
	}
	return plot.Bar{
		Name: one.Title, Colour: colour, Value: v.Median, Low: v.Min, High: v.Max, Text: text,
		Note: fmt.Sprintf("%s: %s %s (%s to %s)", one.Title, plain.Fixed(v.Median, 0), c.Unit, plain.Fixed(v.Min, 0), plain.Fixed(v.Max, 0)),
	}
}
