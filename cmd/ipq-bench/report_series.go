package main

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"github.com/goipq/goipq/internal/peers"
)

// A series is one figure of a run, with a value for each round.
type series struct {
	group string // what it is a figure of: "inline", "batch 8, pool"
	figure
	values []float64
	noisy  string // why it is not to be relied on
}

// A figure is how a series is written and judged.
type figure struct {
	label    string
	decimals int
	// better is 1 where more is better and -1 where less is; 0 where neither
	// is, because the figure describes a run rather than its success.
	better int
	// judged tells that a run got slower when this got worse.
	judged bool
}

// judgement is what the direction of metrics means. Others describe a run:
// what was offered, how full batches were. What is lost of an overload follows
// from what is decided, and is judged by that.
var judgement = map[string]struct {
	better int
	judged bool
}{
	verdictRate:                     {1, true},
	arrivedRate:                     {1, false},
	goodput:                         {1, true},
	connectionRate:                  {1, true},
	connectionP50:                   {-1, true},
	connectionP99:                   {-1, true},
	latencyP50:                      {-1, true},
	latencyP99:                      {-1, true},
	latencyP999:                     {-1, false}, // of few packets
	"failed_connections_per_second": {-1, false},
	ofUnqueued:                      {1, true},
	lostShare:                       {-1, false},
	cpuCost:                         {-1, true},
	allocations:                     {-1, false},
}

// series returns the figures of a document, in the order in which tables show
// them.
func (d *document) series() []series {
	if d.peers != nil {
		return peerSeries(d.peers)
	}
	if d.run.Sweep == nil {
		return modeSeries("", &d.run.Parameters, d.run.Modes)
	}
	var all []series
	for i := range d.run.Sweep.Points {
		p := &d.run.Sweep.Points[i]
		all = append(all, modeSeries(fmt.Sprintf("%s %s, ", d.run.Sweep.Parameter, p.Value), &p.Parameters, p.Modes)...)
	}
	return all
}

// modeSeries returns the figures of some modes. prefix is what comes before
// their names.
func modeSeries(prefix string, p *parameters, modes []mode) []series {
	var all []series
	for i := range modes {
		m := &modes[i]
		add := func(s series) {
			if len(s.values) > 0 {
				s.group = prefix + m.Name
				// Without a queue it is not goipq that got slower.
				s.judged = s.judged && m.Name != modeUnqueued
				all = append(all, s)
			}
		}
		if t := m.Throughput; t != nil {
			s := series{figure: figure{"throughput (RFC 2544), packets/s", 0, 1, true}, noisy: t.Rate.Noisy}
			for j := range t.Searches {
				s.values = append(s.values, t.Searches[j].Rate)
			}
			add(s)
		}
		for _, x := range metrics {
			if !p.measures(x, m.Name) {
				continue
			}
			j := judgement[x.name]
			s := series{figure: figure{x.label, x.decimals, j.better, j.judged}, noisy: m.Summary[x.name].Noisy}
			for k := range m.Rounds {
				if v := x.of(&m.Rounds[k]); !math.IsNaN(v) {
					s.values = append(s.values, v)
				}
			}
			add(s)
		}
	}
	return all
}

// peerSeries returns the figures of a comparison. Only goipq's own are judged,
// and of those the ratios: they are formed within a round, so that a slower
// machine does not count as a slower goipq.
func peerSeries(rep *peers.Report) []series {
	var all []series
	for i := range rep.Contests {
		c := &rep.Contests[i]
		better := 1
		if c.LessIsBetter {
			better = -1
		}
		for j := range c.Contestants {
			one := &c.Contestants[j]
			group := fmt.Sprintf("%s, %s", c.Mode, one.Name)
			ours := isOurs(one.Name)
			value := series{group: group, figure: figure{c.Unit, 0, better, false}}
			cpu := series{group: group, figure: figure{"CPU ns per packet", 0, -1, false}}
			byBase := make([]series, len(c.Bases))
			for _, r := range one.Rounds {
				value.values = append(value.values, r.Value)
				if r.Packets > 0 && r.CPU > 0 {
					cpu.values = append(cpu.values, float64(r.CPU)/float64(r.Packets))
				}
				for k, base := range c.Bases {
					if ratio, ok := r.Ratios[base]; ok && base != one.Name {
						byBase[k].values = append(byBase[k].values, ratio)
					}
				}
			}
			if c.LessIsBetter && c.Unit == "CPU ns/packet" {
				cpu.values = nil // the value says it
			}
			for k, base := range c.Bases {
				byBase[k].group = group
				byBase[k].figure = figure{"over " + base, 3, better, ours}
			}
			for _, s := range append([]series{value, cpu}, byBase...) {
				if len(s.values) > 0 {
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// isOurs reports whether a contestant is goipq.
func isOurs(contestant string) bool { return strings.HasPrefix(contestant, "goipq") }

// key tells which series of two documents belong together.
func (s *series) key() string { return s.group + "\x00" + s.label }

// median is that of the values, of which there is at least one.
func (s *series) median() float64 {
	return spreadOf(append([]float64(nil), s.values...)).Median
}

// worse reports by which share of the old median the new one is worse; it is
// negative where it is better.
func (f *figure) worse(before, after float64) float64 {
	if before == after {
		return 0
	}
	return -float64(cmp.Compare(f.better, 0)) * (after - before) / math.Abs(before)
}
