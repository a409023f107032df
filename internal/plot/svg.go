package plot

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
	"unicode/utf8"
)

// Style is the CSS that drawings refer to, for pages that have some of them:
// the colours, for light paper and, where the reader asks for it, for dark.
const Style = `
:root{--plot-paper:#fff;--plot-ink:#1c2430;--plot-muted:#5a6675;--plot-grid:#dfe4ea;
--plot-0:#6b7787;--plot-1:#1f5fc4;--plot-2:#c04a10;--plot-3:#0d7a5c;--plot-4:#8a3cb5;--plot-5:#94650a;--plot-6:#b5305e}
@media (prefers-color-scheme:dark){:root{--plot-paper:#12171e;--plot-ink:#e6ebf1;--plot-muted:#9eabba;--plot-grid:#2c3541;
--plot-0:#94a1b2;--plot-1:#6ca6ff;--plot-2:#ff9b5e;--plot-3:#43c79a;--plot-4:#cb94f0;--plot-5:#dcb34c;--plot-6:#f386ab}}
.plot{font:13px system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;display:block}
.plot text{fill:var(--plot-muted)}.plot .name{fill:var(--plot-ink)}.plot .title{fill:var(--plot-ink);font-size:16px;font-weight:600}
.plot .grid{stroke:var(--plot-grid)}.plot .base{stroke:var(--plot-muted)}
.plot .line{fill:none;stroke-width:2;stroke-linejoin:round}.plot .range{stroke-width:1.5;opacity:.65}
.plot .ends{stroke:var(--plot-ink);stroke-width:1.5}.plot .mark{stroke:var(--plot-paper);stroke-width:1}
`

// Colours is how many colours there are for series beside colour 0, which is
// for what others are compared with.
const Colours = 6

const (
	textSize = 13.0
	// wide is how wide a character is on average in the widest of usual fonts,
	// in text sizes.
	wide       = 0.62
	lineHeight = 20.0
)

func textWidth(text string) float64 {
	return wide * textSize * float64(utf8.RuneCountInString(text))
}

// A canvas collects the elements of a drawing.
type canvas struct {
	bytes.Buffer
	width, height float64
}

// What a file of its own has around the drawing: its title above, and a margin.
const (
	above  = 40.0
	margin = 12.0
)

// drawing wraps what draw draws. Standalone makes it a file of its own.
func drawing(title string, width, height float64, standalone bool, draw func(*canvas)) []byte {
	c := &canvas{width: width, height: height}
	// The names of files' SVG elements have to be declared, those of HTML not.
	declared := ""
	if standalone {
		declared = ` xmlns="http://www.w3.org/2000/svg"`
		width, height = width+2*margin, height+above+margin
	}
	c.print(`<svg%s class="plot" viewBox="0 0 %s %s" width="%[2]s" height="%[3]s" role="img" aria-label="%[4]s">`,
		declared, number(width), number(height), html.EscapeString(title))
	if standalone {
		c.print("<style>%s.paper{fill:var(--plot-paper)}</style>", Style)
		c.print(`<rect class="paper" width="%s" height="%s"/>`, number(width), number(height))
		c.text(margin, 26, "start", "title", title)
		c.print(`<g transform="translate(%s %s)">`, number(margin), number(above))
	}
	draw(c)
	if standalone {
		c.print("</g>")
	}
	c.WriteString("</svg>\n")
	return c.Bytes()
}

func (c *canvas) print(format string, args ...any) {
	fmt.Fprintf(c, format, args...)
	c.WriteByte('\n')
}

// number writes a coordinate to a tenth of a pixel.
func number(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// text writes at a place; anchor is "start", "middle" or "end".
func (c *canvas) text(x, y float64, anchor, class, text string) {
	if class != "" {
		class = fmt.Sprintf(` class="%s"`, class)
	}
	c.print(`<text x="%s" y="%s" text-anchor="%s"%s>%s</text>`, number(x), number(y), anchor, class, html.EscapeString(text))
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64, more string) {
	c.print(`<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"%s/>`, class, number(x1), number(y1), number(x2), number(y2), more)
}

// tip is an element's tooltip.
func tip(text string) string { return "<title>" + html.EscapeString(text) + "</title>" }

// paint is the CSS value of a colour.
func paint(colour int) string {
	if colour > 0 {
		colour = (colour-1)%Colours + 1
	}
	return fmt.Sprintf("var(--plot-%d)", colour)
}

// mark draws the symbol of a colour, so that those who tell no colours apart
// can follow it.
func (c *canvas) mark(colour int, x, y float64, note string) {
	const r = 4.5
	shape := ""
	switch colour % 4 {
	case 0:
		shape = fmt.Sprintf(`M%s %sh%sv%sh-%sz`, number(x-r+.5), number(y-r+.5), number(2*r-1), number(2*r-1), number(2*r-1))
	case 1:
		c.print(`<circle class="mark" cx="%s" cy="%s" r="%s" fill="%s">%s</circle>`, number(x), number(y), number(r), paint(colour), tip(note))
		return
	case 2:
		shape = fmt.Sprintf(`M%s %sl%s %sh-%sz`, number(x), number(y-r-.5), number(r+.8), number(2*r), number(2*r+1.6))
	case 3:
		shape = fmt.Sprintf(`M%s %sl%s %sl-%[3]s %[4]sl-%[3]s -%[4]sz`, number(x), number(y-r-1), number(r+1), number(r+1))
	}
	c.print(`<path class="mark" d="%s" fill="%s">%s</path>`, shape, paint(colour), tip(note))
}
