package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	htmlUsage = "html -o page.html results.json..."
	svgUsage  = "svg -o folder results.json..."
)

// makeHTML writes one page that shows all reports.
func makeHTML(args []string, stdout, stderr io.Writer) int {
	return render("html", htmlUsage, args, stdout, stderr, func(out string, docs []document) ([]string, error) {
		text, err := renderPage(docs)
		if err != nil {
			return nil, err
		}
		return []string{out}, writeFile("-o", out, text)
	})
}

// makeSVG writes each plot of all reports to a file, which is named after the
// report's.
func makeSVG(args []string, stdout, stderr io.Writer) int {
	return render("svg", svgUsage, args, stdout, stderr, func(out string, docs []document) ([]string, error) {
		if err := os.MkdirAll(out, 0o777); err != nil {
			return nil, err
		}
		var names []string
		for i := range docs {
			base := strings.TrimSuffix(filepath.Base(docs[i].path), ".json")
			for _, d := range docs[i].drawings() {
				name := filepath.Join(out, base+"-"+d.name+".svg")
				if err := writeFile("-o", name, d.svg(wideWidth, true)); err != nil {
					return names, err
				}
				names = append(names, name)
			}
		}
		return names, nil
	})
}

// render reads the reports that a command names, and has their files written.
func render(name, usage string, args []string, stdout, stderr io.Writer, write func(string, []document) ([]string, error)) int {
	if asksForHelp(args, stdout, name, "") {
		return exitOK
	}
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	out := fs.String("o", "", "")
	if err := fs.Parse(args); err != nil {
		return misuse(stderr, "%s: %v (usage: %s)", name, err, usage)
	}
	if *out == "" || fs.NArg() == 0 {
		return misuse(stderr, "%s needs -o and at least one file that -json or peers has written (usage: %s)", name, usage)
	}
	var docs []document
	for _, path := range fs.Args() {
		d, err := readDocument(path)
		if err != nil {
			return misuse(stderr, "%v", err)
		}
		docs = append(docs, d)
	}
	names, err := write(*out, docs)
	for _, name := range names {
		fmt.Fprintln(stdout, name)
	}
	switch {
	case err != nil:
		return misuse(stderr, "%v", err)
	case len(names) == 0:
		return misuse(stderr, "there is nothing to draw in these reports")
	}
	return exitOK
}

// writeHTML writes the page of a run.
func (rep *report) writeHTML(name string) error {
	text, err := renderPage([]document{{run: rep}})
	if err != nil {
		return err
	}
	return writeFile("-html", name, text)
}
