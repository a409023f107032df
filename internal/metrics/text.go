package metrics

import (
	"bufio"
	"io"
	"slices"
	"strconv"
	"strings"
)

// TextType is the media type of what WriteText writes.
const TextType = "text/plain; version=0.0.4; charset=utf-8"

// WriteText writes the metrics of all sources in Prometheus' text format.
func WriteText(w io.Writer, sources []Source) error {
	b := bufio.NewWriter(w)
	var last *Family
	Each(sources, func(s *Sample) {
		f := s.Family
		if f != last {
			b.WriteString("# HELP " + f.Name + " " + f.Help + "\n# TYPE " + f.Name + " " + string(f.Kind) + "\n")
			last = f
		}
		labels := labelPairs(f.Labels, s.Labels)
		if f.Kind != Histogram {
			writeLine(b, f.Name, labels, formatValue(s.Value))
			return
		}
		for i, n := range s.Buckets {
			writeLine(b, f.Name+"_bucket", labels+`,le="`+formatValue(s.Bounds[i])+`"`, strconv.FormatUint(n, 10))
		}
		count := strconv.FormatUint(s.Count, 10)
		writeLine(b, f.Name+"_bucket", labels+`,le="+Inf"`, count)
		writeLine(b, f.Name+"_sum", labels, formatValue(s.Sum))
		writeLine(b, f.Name+"_count", labels, count)
	})
	return b.Flush() // which has the first error
}

func writeLine(b *bufio.Writer, name, labels, value string) {
	b.WriteString(name + "{" + labels + "} " + value + "\n")
}

// escape is for the values of labels.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// labelPairs returns labels in the order of their names, as client libraries have them.
func labelPairs(names, values []string) string {
	pairs := make([]string, len(names))
	for i, name := range names {
		pairs[i] = name + `="` + escape.Replace(values[i]) + `"`
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

func formatValue(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
