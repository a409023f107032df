package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/render"
	"github.com/goipq/goipq/internal/bench/report"
)

const (
	htmlUsage = "html -o page.html results.json..."
	svgUsage  = "svg -o folder results.json..."
)

// makeHTML writes one page that shows all reports.
func makeHTML(args []string, stdout, stderr io.Writer) int {
	return renderFiles("html", htmlUsage, args, stdout, stderr, func(out string, docs []report.Document) ([]string, error) {
		text, err := render.HTML(docs)
		if err != nil {
			return nil, err
		}
		return []string{out}, writeFile("-o", out, text)
	})
}

// makeSVG writes each plot of all reports to a file, which is named after the
// report's.
func makeSVG(args []string, stdout, stderr io.Writer) int {
	return renderFiles("svg", svgUsage, args, stdout, stderr, func(out string, docs []report.Document) ([]string, error) {
		if err := os.MkdirAll(out, 0o777); err != nil {
			return nil, err
		}
		var names []string
		for i := range docs {
			for _, f := range render.Plots(&docs[i]) {
				name := filepath.Join(out, f.Name)
				if err := writeFile("-o", name, f.Text); err != nil {
					return names, err
				}
				names = append(names, name)
			}
		}
		return names, nil
	})
}

// renderFiles reads the reports that a command names, and lets write make files of
// them.
func renderFiles(name, usage string, args []string, stdout, stderr io.Writer, write func(string, []report.Document) ([]string, error)) int {
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
	var docs []report.Document
	for _, path := range fs.Args() {
		d, err := report.Read(path)
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

const markdownUsage = "markdown -o page.md -svg folder page.md.tmpl"

// makeMarkdown writes a page from a template. The template takes its tables, plots
// and figures from reports, so that no number is typed.
func makeMarkdown(args []string, stdout, stderr io.Writer) int {
	if asksForHelp(args, stdout, "markdown", "") {
		return exitOK
	}
	fs := flag.NewFlagSet("markdown", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	out, svg := fs.String("o", "", ""), fs.String("svg", "", "")
	if err := fs.Parse(args); err != nil {
		return misuse(stderr, "markdown: %v (usage: %s)", err, markdownUsage)
	}
	if *out == "" || *svg == "" || fs.NArg() != 1 {
		return misuse(stderr, "markdown needs -o, -svg and a template (usage: %s)", markdownUsage)
	}
	text, drawings, err := render.Markdown(fs.Arg(0), *out, *svg)
	if err != nil {
		return misuse(stderr, "%v", err)
	}
	if err := os.MkdirAll(*svg, 0o777); err != nil {
		return misuse(stderr, "%v", err)
	}
	for name, content := range drawings {
		if err := writeFile("-svg", name, content); err != nil {
			return misuse(stderr, "%v", err)
		}
	}
	if err := writeFile("-o", *out, text); err != nil {
		return misuse(stderr, "%v", err)
	}
	fmt.Fprintf(stdout, "%s, and %s in %s\n", *out, plain.Plural(len(drawings), "plot"), *svg)
	return exitOK
}
