package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/goipq/goipq/internal/plot"
)

// A page is what page.html shows.
type page struct {
	Style    template.CSS
	Sections []section
}

// A section is one document.
type section struct {
	Title  string
	Facts  []pageFact
	Notes  []string
	Tables []pageTable
	Plots  []pagePlot
}

type pageFact struct{ Name, Text string }

// A pagePlot is drawn twice, since a phone's screen is narrower than a plot
// whose texts are large enough there.
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

// renderPage makes one self-contained page of all documents.
func renderPage(docs []document) ([]byte, error) {
	p := page{Style: template.CSS(plot.Style)}
	for i := range docs {
		p.Sections = append(p.Sections, docs[i].section())
	}
	var text bytes.Buffer
	if err := pageTemplate.Execute(&text, p); err != nil {
		return nil, fmt.Errorf("make the page: %w", err)
	}
	return text.Bytes(), nil
}

// drawings returns all plots of a document.
func (d *document) drawings() []drawing {
	if d.peers != nil {
		return peerDrawings(d.peers)
	}
	return d.run.drawings()
}

func (d *document) section() section {
	var s section
	if d.peers != nil {
		s = d.peersSection()
	} else {
		s = d.runSection()
	}
	for _, x := range d.drawings() {
		s.Plots = append(s.Plots, pagePlot{
			Title: x.title, Caption: x.caption,
			// The plots escape what they write.
			Wide:   template.HTML(x.svg(wideWidth, false)),
			Narrow: template.HTML(x.svg(narrowWidth, false)),
		})
	}
	return s
}

const dateFormat = "2006-01-02 15:04 UTC"

func (d *document) peersSection() section {
	rep := d.peers
	m := machine{Kernel: rep.Machine.Kernel, Arch: rep.Machine.Arch, CPU: rep.Machine.CPU, CPUs: rep.Machine.CPUs, Go: rep.Machine.Go}
	s := section{
		Title: "goipq and its peers",
		Facts: []pageFact{
			{"machine", m.describe()},
			{"when", rep.Time.UTC().Format(dateFormat)},
		},
		Tables: peerTables(rep),
	}
	for _, name := range slices.Sorted(maps.Keys(rep.Versions)) {
		s.Facts = append(s.Facts, pageFact{name, rep.Versions[name]})
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
			s.Notes = append(s.Notes, fmt.Sprintf("%s: the rounds differ so much that little can be said of %s.", c.Title, enumerate(names)))
		}
		for j := range c.Contestants {
			if one := &c.Contestants[j]; one.Outran {
				s.Notes = append(s.Notes, fmt.Sprintf("%s, %s: it decided nearly all that was sent, and might carry more.", c.Mode, one.Title))
			}
		}
	}
	return s
}

func (d *document) runSection() section {
	rep := d.run
	p, st := &rep.Parameters, &rep.Setup
	sc := p.scenario()
	s := section{
		Title: rep.heading(),
		Facts: []pageFact{
			{"machine", rep.Machine.describe()},
			{"goipq", rep.Machine.Goipq},
			{"when", rep.Time.UTC().Format(dateFormat)},
			{"place", st.describe()},
			{"queue", sc.describe(p) + p.queue(st)},
			{p.loadLabel(), sc.load(p) + ", by " + p.senders(st)},
			{"consumer", p.consumer(st)},
			{"run", p.run(rep)},
		},
	}
	if rep.Sweep != nil {
		s.Facts = append(s.Facts, pageFact{"sweep", rep.Sweep.describe()})
	}
	s.Facts = append(s.Facts, pageFact{"books", rep.Books.describe()})
	if rep.Interrupted {
		s.Notes = append(s.Notes, "Interrupted: this is what was measured so far.")
	}
	switch {
	case rep.Sweep != nil:
		s.Tables = rep.Sweep.tables()
	case rep.Kind == kindThroughput:
		s.Tables = append(s.Tables, rep.searchTable())
	case rep.Kind == kindRounds:
		s.Notes = append(s.Notes, rep.notes()...)
		s.Tables = append(s.Tables, rep.table())
	}
	for i := range rep.Soaks {
		s.Notes = append(s.Notes, rep.Soaks[i].Problems...)
	}
	s.Notes = append(s.Notes, marked(rep.noise())...)
	s.Notes = append(s.Notes, rep.Books.Problems...)
	return s
}

// noise says which modes' main figures are not to be relied on, and why.
func (rep *report) noise() []string {
	points := []point{{Parameters: rep.Parameters, Modes: rep.Modes}}
	if rep.Sweep != nil {
		points = rep.Sweep.Points
	}
	var noise []string
	for i := range points {
		pt := &points[i]
		for j := range pt.Modes {
			m := &pt.Modes[j]
			text := m.Summary[throughputRate].Noisy
			switch main := pt.Parameters.shown(); {
			case text != "":
			case rep.Sweep != nil: // there are many
				text = m.Summary[main.name].Noisy
			default:
				text = m.noise(main)
			}
			if text != "" {
				noise = append(noise, pt.title(m.Name)+": "+text)
			}
		}
	}
	return noise
}

// marked explains the marks of noisy figures, up to a few.
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

// heading says what was measured in a few words.
func (rep *report) heading() string {
	p := &rep.Parameters
	what := p.Scenario
	if p.TCP && p.Scenario == scenarioForward {
		what += ", TCP"
	}
	if p.Handler != handleAccept && (rep.Sweep == nil || rep.Sweep.Parameter != "handler") {
		what += ", " + p.Handler
	}
	switch {
	case rep.Sweep != nil:
		return what + " by " + rep.Sweep.Parameter
	case rep.Kind == kindThroughput:
		return what + ", throughput"
	case rep.Kind == kindSoak:
		return what + ", soak"
	}
	return what
}
