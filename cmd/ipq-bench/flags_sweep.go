package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goipq/goipq/internal/bench/report"
)

// sweepable are the flags that -sweep takes several values for.
var sweepable = []string{"batch", "workers", "queues", "maxlen", "size", "flows", "handler", "rate", "bypass"}

const maxPoints = 64

// A sweeping is a -sweep: a flag, its values, and the options that each of them
// makes.
type sweeping struct {
	name    string
	values  []string
	options []options
	numeric bool
}

// parseSweep reads "batch=1,8,32". It reads the whole command line again for each
// value, so that each goes through all checks.
func parseSweep(text string, args []string, set map[string]bool) (*sweeping, error) {
	name, list, ok := strings.Cut(text, "=")
	if !ok || !slices.Contains(sweepable, name) {
		return nil, fmt.Errorf("-sweep %s: want FLAG=VALUE,VALUE,... with one of the flags %s", text, strings.Join(sweepable, ", "))
	}
	for _, other := range []string{name, "soak"} {
		if set[other] {
			return nil, fmt.Errorf("-sweep %s and -%s exclude each other", text, other)
		}
	}
	s := &sweeping{name: name, values: strings.Split(list, ","), numeric: true}
	if len(s.values) > maxPoints {
		return nil, fmt.Errorf("-sweep %s has %d values, more than %d", name, len(s.values), maxPoints)
	}
	for i, value := range s.values {
		if slices.Contains(s.values[:i], value) {
			return nil, fmt.Errorf("-sweep %s: %s is named twice", name, value)
		}
		more := []string{"-" + name + "=" + value}
		if name == "workers" && !set["modes"] {
			more = append(more, "-modes="+report.ModePool) // there are none inline
		}
		o, err := parseOnce(append(slices.Clone(args), more...))
		if err != nil {
			return nil, fmt.Errorf("-sweep %s: %w", name, err)
		}
		s.options = append(s.options, o)
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			s.numeric = false
		}
	}
	return s, nil
}

// points returns the points of the report, with nothing measured.
func (s *sweeping) points() []report.Point {
	var all []report.Point
	for _, value := range s.values {
		pt := report.Point{Value: value}
		if s.numeric {
			pt.Number, _ = strconv.ParseFloat(value, 64) // parseSweep has tried
		}
		all = append(all, pt)
	}
	return all
}
