package render

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
)

// A quoter reads what a template quotes: reports, in the template's folder.
type quoter struct {
	folder   string // of the template
	page     string // folder of the page, to which links are relative
	svg      string // folder of the plots
	docs     map[string]*report.Document
	drawings map[string][]byte // by path
}

// Markdown makes a page from a template. It returns the page, and the plots that
// the page shows, by their paths.
func Markdown(tmpl, out, svg string) ([]byte, map[string][]byte, error) {
	q := &quoter{
		folder: filepath.Dir(tmpl), page: filepath.Dir(out), svg: svg,
		docs: make(map[string]*report.Document), drawings: make(map[string][]byte),
	}
	text, err := os.ReadFile(tmpl)
	if err != nil {
		return nil, nil, err
	}
	t, err := template.New(filepath.Base(tmpl)).Option("missingkey=error").Funcs(template.FuncMap{
		"machine": q.machine,
		"date":    q.date,
		"tables":  q.tables,
		"table":   q.table,
		"plots":   q.plots,
		"value":   q.value,
		"spread":  q.spread,
		"profile": q.profile,
		"tried":   q.tried,
	}).Parse(string(text))
	if err != nil {
		return nil, nil, err
	}
	var page bytes.Buffer
	if err := t.Execute(&page, nil); err != nil {
		return nil, nil, err
	}
	return page.Bytes(), q.drawings, nil
}

// open reads a report, once.
func (q *quoter) open(name string) (*report.Document, error) {
	if d := q.docs[name]; d != nil {
		return d, nil
	}
	d, err := report.Read(filepath.Join(q.folder, name))
	if err != nil {
		return nil, err
	}
	q.docs[name] = &d
	return &d, nil
}

// machine says on which machine a report was made.
func (q *quoter) machine(name string) (string, error) { return q.fact(name, "machine") }

// date says when it was made.
func (q *quoter) date(name string) (string, error) {
	when, err := q.fact(name, "when")
	day, _, _ := strings.Cut(when, " ")
	return day, err
}

func (q *quoter) fact(name, fact string) (string, error) {
	d, err := q.open(name)
	if err != nil {
		return "", err
	}
	for _, f := range sectionOf(d).Facts {
		if f.Name == fact {
			return f.Text, nil
		}
	}
	return "", fmt.Errorf("%s does not tell its %s", name, fact)
}

// tables are all tables of a report, each below its title, and the notes on their
// figures.
func (q *quoter) tables(name string) (string, error) {
	d, err := q.open(name)
	if err != nil {
		return "", err
	}
	s := sectionOf(d)
	var text strings.Builder
	for i := range s.Tables {
		fmt.Fprintf(&text, "**%s**\n\n%s\n", s.Tables[i].Title, s.Tables[i].markdown())
	}
	for _, note := range s.Notes {
		if d.Peers != nil || strings.HasPrefix(note, "!: ") {
			fmt.Fprintf(&text, "%s\n\n", note)
		}
	}
	return strings.TrimRight(text.String(), "\n"), nil
}

// table is the table whose title begins with that text.
func (q *quoter) table(name, title string) (string, error) {
	d, err := q.open(name)
	if err != nil {
		return "", err
	}
	tables := sectionOf(d).Tables
	for i := range tables {
		if strings.HasPrefix(tables[i].Title, title) {
			return strings.TrimRight(tables[i].markdown(), "\n"), nil
		}
	}
	return "", fmt.Errorf("%s has no table %q", name, title)
}

// plots are the plots of a report whose names begin with one of those, or all.
func (q *quoter) plots(name string, which ...string) (string, error) {
	d, err := q.open(name)
	if err != nil {
		return "", err
	}
	var lines []string
	base := strings.TrimSuffix(filepath.Base(name), ".json")
	for _, x := range drawings(d) {
		if len(which) > 0 && !hasPrefix(x.name, which) {
			continue
		}
		path := filepath.Join(q.svg, base+"-"+x.name+".svg")
		q.drawings[path] = x.svg(wideWidth, true)
		link, err := filepath.Rel(q.page, path)
		if err != nil {
			return "", err
		}
		lines = append(lines, fmt.Sprintf("![%s. %s](%s)", x.title, x.caption, filepath.ToSlash(link)))
	}
	if len(lines) == 0 {
		return "", fmt.Errorf("%s has no plot %q", name, which)
	}
	return strings.Join(lines, "\n\n"), nil
}

func hasPrefix(name string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// value is the median of a figure. group and label are those that compare shows.
func (q *quoter) value(name, group, label string) (string, error) {
	s, err := q.find(name, group, label)
	if err != nil {
		return "", err
	}
	return plain.Fixed(s.Median(), s.Decimals), nil
}

// spread is the median with the least and the most.
func (q *quoter) spread(name, group, label string) (string, error) {
	s, err := q.find(name, group, label)
	if err != nil {
		return "", err
	}
	all := report.SpreadOf(append([]float64(nil), s.Values...))
	return fmt.Sprintf("%s (%s–%s)", plain.Fixed(all.Median, s.Decimals), plain.Fixed(all.Min, s.Decimals), plain.Fixed(all.Max, s.Decimals)), nil
}

func (q *quoter) find(name, group, label string) (*report.Series, error) {
	d, err := q.open(name)
	if err != nil {
		return nil, err
	}
	var has []string
	all := d.Series()
	for i := range all {
		if all[i].Group == group && all[i].Label == label {
			return &all[i], nil
		}
		has = append(has, fmt.Sprintf("%q %q", all[i].Group, all[i].Label))
	}
	return nil, fmt.Errorf("%s has no %q of %q, but: %s", name, label, group, strings.Join(has, ", "))
}
