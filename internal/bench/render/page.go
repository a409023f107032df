package render

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/peers"
	"github.com/goipq/goipq/internal/plot"
)

// A page is what page.html shows.
type page struct {
	Style    template.CSS
	Sections []section
}

// A section shows one document.
type section struct {
	Title  string
	Facts  []fact
	Notes  []string
	Tables []pageTable
	Plots  []pagePlot
}

// A pagePlot is drawn twice: on a phone the wide one would be shrunk until its texts
// are too small.
type pagePlot struct {
	Title, Caption string
	Wide, Narrow   template.HTML
}

// The widths of plots in pixels.
const (
	wideWidth   = 820
	narrowWidth = 358 // a phone's 390 less the page's margins
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// HTML makes one self-contained page of all documents.
func HTML(docs []report.Document) ([]byte, error) {
	p := page{Style: template.CSS(plot.Style)}
	for i := range docs {
		p.Sections = append(p.Sections, sectionOf(&docs[i]))
	}
	var text bytes.Buffer
	if err := pageTemplate.Execute(&text, p); err != nil {
		return nil, fmt.Errorf("make the page: %w", err)
	}
	return text.Bytes(), nil
}

// drawings returns all plots of a document.
func drawings(d *report.Document) []drawing {
	if d.Peers != nil {
		return peerDrawings(d.Peers)
	}
	return runDrawings(d.Run)
}

// A Plot is a plot that stands by itself.
type Plot struct {
	Name string // made from that of the report's file
	Text []byte
}

// Plots returns all plots of a document.
func Plots(d *report.Document) []Plot {
	var all []Plot
	base := strings.TrimSuffix(filepath.Base(d.Path), ".json")
	for _, x := range drawings(d) {
		all = append(all, Plot{base + "-" + x.name + ".svg", x.svg(wideWidth, true)})
	}
	return all
}

func sectionOf(d *report.Document) section {
	var s section
	if d.Peers != nil {
		s = peersSection(d.Peers)
	} else {
		s = runSection(d.Run)
	}
	for _, x := range drawings(d) {
		s.Plots = append(s.Plots, pagePlot{
			Title: x.title, Caption: x.caption,
			// The plots escape what they write.
			Wide:   template.HTML(x.svg(wideWidth, false)),
			Narrow: template.HTML(x.svg(narrowWidth, false)),
		})
	}
	return s
}

func peersSection(rep *peers.Report) section {
	m := report.Machine{Kernel: rep.Machine.Kernel, Arch: rep.Machine.Arch, CPU: rep.Machine.CPU, CPUs: rep.Machine.CPUs, Go: rep.Machine.Go}
	s := section{
		Title: "goipq and its peers",
		Facts: []fact{
			{"machine", describeMachine(&m)},
			{"when", rep.Time.UTC().Format(report.DateFormat)},
		},
		Tables: peerTables(rep),
	}
	for _, name := range slices.Sorted(maps.Keys(rep.Versions)) {
		s.Facts = append(s.Facts, fact{name, rep.Versions[name]})
	}
	if rep.Interrupted {
		s.Notes = append(s.Notes, "Interrupted: this is what was measured so far.")
	}
	for _, x := range rep.Missing {
		s.Notes = append(s.Notes, fmt.Sprintf("%s did not take part: %s is not installed (%s).", x.Contestant, x.What, x.Get))
	}
	for i := range rep.Contests {
		c := &rep.Contests[i]
		if names := c.Noisy(); len(names) > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf("%s: the rounds differ so much that little can be said of %s.", c.Title, plain.Enumerate(names)))
		}
		for j := range c.Contestants {
			if one := &c.Contestants[j]; one.Outran {
				s.Notes = append(s.Notes, fmt.Sprintf("%s, %s: it decided nearly all that was sent, and might carry more.", c.Mode, one.Title))
			}
		}
	}
	return s
}

func runSection(rep *report.Report) section {
	s := section{
		Title: subject(rep),
		Facts: []fact{
			{"machine", describeMachine(&rep.Machine)},
			{"goipq", rep.Machine.Goipq},
			{"when", rep.Time.UTC().Format(report.DateFormat)},
		},
	}
	s.Facts = append(s.Facts, describe(rep)...)
	s.Facts = append(s.Facts, fact{"books", rep.Books.Describe()})
	if rep.Interrupted {
		s.Notes = append(s.Notes, "Interrupted: this is what was measured so far.")
	}
	switch {
	case rep.Sweep != nil:
		s.Tables = sweepTables(rep.Sweep)
	case rep.Kind == report.KindThroughput:
		s.Tables = append(s.Tables, searchTable(rep))
	case rep.Kind == report.KindRounds:
		s.Notes = append(s.Notes, notes(rep)...)
		s.Tables = append(s.Tables, figureTable(rep))
	}
	for i := range rep.Soaks {
		s.Notes = append(s.Notes, rep.Soaks[i].Problems...)
	}
	s.Notes = append(s.Notes, marked(noise(rep))...)
	s.Notes = append(s.Notes, rep.Books.Problems...)
	return s
}

// subject says what was measured in a few words.
func subject(rep *report.Report) string {
	p := &rep.Parameters
	what := p.Scenario
	if p.TCP && p.Scenario == report.ScenarioForward {
		what += ", TCP"
	}
	if p.Handler != report.HandleAccept && (rep.Sweep == nil || rep.Sweep.Parameter != "handler") {
		what += ", " + p.Handler
	}
	switch {
	case rep.Sweep != nil:
		return what + " by " + rep.Sweep.Parameter
	case rep.Kind == report.KindThroughput:
		return what + ", throughput"
	case rep.Kind == report.KindSoak:
		return what + ", soak"
	}
	return what
}
