package render

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

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
		"machine":  q.machine,
		"date":     q.date,
		"command":  q.command,
		"figures":  q.figures,
		"rivals":   q.rivals,
		"routed":   q.routed,
		"contest":  q.contest,
		"span":     q.span,
		"settings": q.settings,
		"plots":    q.plots,
		"profile":  q.profile,
		"tried":    q.tried,
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

// command is how a report was made: what measure.sh has for it.
func (q *quoter) command(name string) (string, error) {
	script := filepath.Join(q.folder, "measure.sh")
	text, err := os.ReadFile(script)
	if err != nil {
		return "", err
	}
	base := strings.TrimSuffix(name, ".json")
	for _, line := range strings.Split(string(text), "\n") {
		if flags, ok := strings.CutPrefix(strings.TrimSpace(line), "bench "+base+" "); ok {
			return "go run ./cmd/ipq-bench " + flags, nil
		}
	}
	return "", fmt.Errorf("%s does not make %s", script, name)
}

// plots are the plots of a report whose names begin with one of those, or all.
func (q *quoter) plots(name string, which ...string) (string, error) {
	d, err := q.open(name)
	if err != nil {
		return "", err
	}
	var lines []string
	base := strings.TrimSuffix(filepath.Base(name), ".json")
	for _, x := range drawings(published(d)) {
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
