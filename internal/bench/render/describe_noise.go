package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
)

// noise says which modes' main figures are not to be relied on, and why.
func noise(rep *report.Report) []string {
	points := rep.Points()
	var noise []string
	for i := range points {
		pt := &points[i]
		for j := range pt.Modes {
			m := &pt.Modes[j]
			text := m.Summary[report.ThroughputRate].Noisy
			switch main := pt.Parameters.Shown(); {
			case text != "":
			case rep.Sweep != nil: // there are many
				text = m.Summary[main.Name].Noisy
			default:
				text = noiseOfMode(m, main)
			}
			if text != "" {
				noise = append(noise, pt.Title(m.Name)+": "+text)
			}
		}
	}
	return noise
}

// noiseOfMode says why the main figure of a mode is noisy, and how many others are.
func noiseOfMode(m *report.Mode, main report.Metric) string {
	var others int
	for name, s := range m.Summary {
		if s.Noisy != "" && name != main.Name {
			others++
		}
	}
	text := m.Summary[main.Name].Noisy
	switch {
	case text == "" && others == 0:
		return ""
	case text == "":
		return fmt.Sprintf("%s, but not %s", plain.Plural(others, "figure"), main.Label)
	case others == 0:
		return main.Label + " " + text
	}
	return fmt.Sprintf("%s %s; noisy, too: %s", main.Label, text, plain.Plural(others, "other figure"))
}

// marked explains the marks of noisy figures: a few of them, and how many more
// there are.
func marked(noise []string) []string {
	const most = 3
	if len(noise) == 0 {
		return nil
	}
	text := "!: not to be relied on. " + strings.Join(noise[:min(most, len(noise))], "; ")
	if more := len(noise) - most; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return []string{text + "."}
}

// printNoise explains the marks of noisy figures.
func printNoise(w io.Writer, width int, noise []string) {
	for _, text := range marked(noise) {
		plain.Field(w, width, "note", text)
	}
}
