package plot

import (
	"math"
	"strconv"
)

// A Scale is how values are laid out along an axis.
type Scale int

const (
	Linear Scale = iota
	Log          // equal ratios are equally far apart; values are above 0
	// Percentile is the axis of HDR histograms for percentages below 100:
	// 90, 99 and 99.9 are equally far apart.
	Percentile
)

// An Axis is one of a chart's two.
type Axis struct {
	Label string
	Scale Scale
	// Format writes a value beside the axis; nil is [SI].
	Format func(float64) string
	// Ticks are the values to be marked; nil chooses round ones.
	Ticks []float64
	// FromZero begins a linear axis at 0, as quantities should that are
	// compared by their height.
	FromZero bool
}

// at returns where on the scale a value is.
func (a *Axis) at(v float64) float64 {
	switch a.Scale {
	case Log:
		return math.Log10(v)
	case Percentile:
		return math.Log10(100 / (100 - v))
	}
	return v
}

// shows reports whether the axis has a place for a value.
func (a *Axis) shows(v float64) bool {
	at := a.at(v)
	return !math.IsNaN(at) && !math.IsInf(at, 0)
}

func (a *Axis) format(v float64) string {
	if a.Format == nil {
		return SI(v)
	}
	return a.Format(v)
}

// SI writes a number with three digits at most and the prefix of thousands:
// 1200 is "1.2k".
func SI(v float64) string {
	for _, p := range []struct {
		unit float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		// What would round up to the next prefix is given that.
		if math.Abs(v) >= 0.9995*p.unit {
			return digits(v/p.unit) + p.name
		}
	}
	return digits(v)
}

func digits(v float64) string { return strconv.FormatFloat(round(v), 'f', -1, 64) }

// round rounds to three significant digits.
func round(v float64) float64 {
	if v == 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
	if unit >= 1 {
		return math.Round(v/unit) * unit
	}
	return math.Round(v*math.Round(1/unit)) / math.Round(1/unit)
}

// A span is the part of an axis that is drawn, in the units of its scale.
type span struct{ low, high float64 }

// fit returns the span for values, and the ticks in it.
func (a *Axis) fit(low, high float64) (span, []float64) {
	switch {
	case a.Ticks != nil:
		s := span{a.at(low), a.at(high)}
		margin := (s.high - s.low) / 24
		if margin == 0 {
			margin = 0.5
		}
		return span{s.low - margin, s.high + margin}, a.Ticks
	case a.Scale == Percentile:
		return a.fitPercentile(high)
	case a.Scale == Log:
		return a.fitLog(low, high)
	}
	return a.fitLinear(low, high)
}

// fitLinear has some five ticks at multiples of 1, 2 or 5, and goes from one to
// another.
func (a *Axis) fitLinear(low, high float64) (span, []float64) {
	if a.FromZero {
		low = min(low, 0)
	}
	if high <= low {
		high = low + max(1, math.Abs(low))
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (high-low)/(m*step) <= 5 {
			step *= m
			break
		}
	}
	first, last := math.Floor(low/step), math.Ceil(high/step)
	var ticks []float64
	for n := first; n <= last; n++ {
		ticks = append(ticks, n*step)
	}
	return span{first * step, last * step}, ticks
}

// fitLog has ticks at powers of ten, or at 1, 2 and 5 times those where there
// are few.
func (a *Axis) fitLog(low, high float64) (span, []float64) {
	steps := []float64{1, 2, 5}
	if math.Log10(high/low) > 3 {
		steps = steps[:1]
	}
	var ticks []float64
	for exp := math.Floor(math.Log10(low)); exp <= math.Ceil(math.Log10(high)); exp++ {
		for _, m := range steps {
			ticks = append(ticks, m*math.Pow(10, exp))
		}
	}
	// From the last tick at or below all values to the first at or above.
	for len(ticks) > 2 && ticks[1] <= low {
		ticks = ticks[1:]
	}
	for len(ticks) > 2 && ticks[len(ticks)-2] >= high {
		ticks = ticks[:len(ticks)-1]
	}
	return span{math.Log10(ticks[0]), math.Log10(ticks[len(ticks)-1])}, ticks
}

// fitPercentile goes from 0 to the highest value, with a tick for each nine.
func (a *Axis) fitPercentile(high float64) (span, []float64) {
	s := span{0, max(a.at(high), 1)}
	ticks := []float64{0, 50}
	for nines := 1.0; nines <= s.high; nines++ {
		ticks = append(ticks, 100-100*math.Pow(10, -nines))
	}
	return s, ticks
}

// Percent writes a percentage with as many nines as it has.
func Percent(v float64) string { return strconv.FormatFloat(v, 'f', -1, 32) + " %" }
