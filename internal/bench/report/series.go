package report

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"github.com/goipq/goipq/internal/peers"
)

// A Series is one figure of a run, with a value for each round.
type Series struct {
	Group string // what it is a figure of: "inline", "batch 8, pool"
	Figure
	Values []float64
	Noisy  string // why it is not to be relied on
}

// A Figure is how a series is written and judged.
type Figure struct {
	Label    string
	Decimals int
	// Better is 1 where more is better, -1 where less is, and 0 where neither is:
	// the figure describes a run, not its success.
	Better int
	// judged tells that a run got slower when this got worse.
	judged bool
}

// judgement says of metrics which direction is better, and whether a run is judged
// by them. Other metrics describe a run: what was offered, how full batches were.
// Loss under overload is not judged: it follows from what is decided, which is.
var judgement = map[string]struct {
	better int
	judged bool
}{
	VerdictRate:                     {1, true},
	ArrivedRate:                     {1, false},
	Goodput:                         {1, true},
	ConnectionRate:                  {1, true},
	ConnectionP50:                   {-1, true},
	ConnectionP99:                   {-1, true},
	LatencyP50:                      {-1, true},
	LatencyP99:                      {-1, true},
	LatencyP999:                     {-1, false}, // of few packets
	"failed_connections_per_second": {-1, false},
	OfUnqueued:                      {1, true},
	LostShare:                       {-1, false},
	CPUCost:                         {-1, true},
	Allocations:                     {-1, false},
}

// Series returns the figures of a document, in the order in which tables show
// them.
func (d *Document) Series() []Series {
	if d.Peers != nil {
		return peerSeries(d.Peers)
	}
	if d.Run.Sweep == nil {
		return modeSeries("", &d.Run.Parameters, d.Run.Modes)
	}
	var all []Series
	for i := range d.Run.Sweep.Points {
		p := &d.Run.Sweep.Points[i]
		all = append(all, modeSeries(fmt.Sprintf("%s %s, ", d.Run.Sweep.Parameter, p.Value), &p.Parameters, p.Modes)...)
	}
	return all
}

// modeSeries returns the figures of some modes. prefix is what comes before
// their names.
func modeSeries(prefix string, p *Parameters, modes []Mode) []Series {
	var all []Series
	for i := range modes {
		m := &modes[i]
		add := func(s Series) {
			if len(s.Values) > 0 {
				s.Group = prefix + m.Name
				// Without a queue it is the machine that got slower, not goipq.
				s.judged = s.judged && m.Name != ModeUnqueued
				all = append(all, s)
			}
		}
		if t := m.Throughput; t != nil {
			s := Series{Figure: Figure{"throughput (RFC 2544), packets/s", 0, 1, true}, Noisy: t.Rate.Noisy}
			for j := range t.Searches {
				s.Values = append(s.Values, t.Searches[j].Rate)
			}
			add(s)
		}
		for _, x := range metrics {
			if !p.measures(x, m.Name) {
				continue
			}
			j := judgement[x.Name]
			s := Series{Figure: Figure{x.Label, x.Decimals, j.better, j.judged}, Noisy: m.Summary[x.Name].Noisy}
			for k := range m.Rounds {
				if v := x.Of(&m.Rounds[k]); !math.IsNaN(v) {
					s.Values = append(s.Values, v)
				}
			}
			add(s)
		}
	}
	return all
}

// peerSeries returns the figures of a comparison. Only goipq's ratios are judged:
// they are formed within a round, so that a slower machine does not count as a
// slower goipq.
func peerSeries(rep *peers.Report) []Series {
	var all []Series
	for i := range rep.Contests {
		c := &rep.Contests[i]
		better := 1
		if c.LessIsBetter {
			better = -1
		}
		for j := range c.Contestants {
			one := &c.Contestants[j]
			group := fmt.Sprintf("%s, %s", c.Mode, one.Name)
			ours := IsOurs(one.Name)
			value := Series{Group: group, Figure: Figure{c.Unit, 0, better, false}}
			cpu := Series{Group: group, Figure: Figure{"CPU ns per packet", 0, -1, false}}
			byBase := make([]Series, len(c.Bases))
			for _, r := range one.Rounds {
				value.Values = append(value.Values, r.Value)
				if r.Packets > 0 && r.CPU > 0 {
					cpu.Values = append(cpu.Values, float64(r.CPU)/float64(r.Packets))
				}
				for k, base := range c.Bases {
					if ratio, ok := r.Ratios[base]; ok && base != one.Name {
						byBase[k].Values = append(byBase[k].Values, ratio)
					}
				}
			}
			if c.LessIsBetter && c.Unit == "CPU ns/packet" {
				cpu.Values = nil // the value is the same
			}
			for k, base := range c.Bases {
				byBase[k].Group = group
				byBase[k].Figure = Figure{"over " + base, 3, better, ours}
			}
			for _, s := range append([]Series{value, cpu}, byBase...) {
				if len(s.Values) > 0 {
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// IsOurs reports whether a contestant is goipq.
func IsOurs(contestant string) bool { return strings.HasPrefix(contestant, "goipq") }

// key tells which series of two documents belong together.
func (s *Series) key() string { return s.Group + "\x00" + s.Label }

// Median is that of the values, of which there is at least one.
func (s *Series) Median() float64 {
	return SpreadOf(s.Values).Median
}

// worse is by how much the new median is worse than the old one, as a share of
// that. It is negative where the new one is better.
func (f *Figure) worse(before, after float64) float64 {
	if before == after {
		return 0
	}
	return -float64(cmp.Compare(f.Better, 0)) * (after - before) / math.Abs(before)
}
