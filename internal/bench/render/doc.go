// Package render shows reports to people: on a terminal, as pages of HTML and
// Markdown, and as plots. Its input is package report's types, and its output a
// text or a writer; it opens no file but those that a Markdown template quotes.
package render
