package plot

import (
	"fmt"
	"math"
	"strings"
)

// A Chart has a line for each series.
type Chart struct {
	Title  string
	X, Y   Axis
	Series []Series
}

// A Series is one line.
type Series struct {
	Name   string
	Colour int  // from 1 on; 0 is dashed, for what the others are compared with
	Plain  bool // without marks and ranges, for curves of many points
	Points []Point
}

// A Point is one of a series. Low and High are its range; without one they are
// both Y.
type Point struct {
	X, Y, Low, High float64
	Note            string // the tooltip
}

// SVG draws the chart in so many pixels. Standalone makes it a file of its own;
// otherwise the page it becomes part of has [Style].
func (c *Chart) SVG(width, height int, standalone bool) []byte {
	return drawing(c.Title, float64(width), float64(height), standalone, c.draw)
}

// A frame is where the values of a chart are drawn.
type frame struct {
	left, right, top, bottom float64
	x, y                     *Axis
	xs, ys                   span
	shift                    float64 // of the series, in pixels
}

func (f *frame) px(v float64) float64 {
	return f.left + (f.right-f.left)*(f.x.at(v)-f.xs.low)/(f.xs.high-f.xs.low)
}

func (f *frame) py(v float64) float64 {
	return f.bottom - (f.bottom-f.top)*(f.y.at(v)-f.ys.low)/(f.ys.high-f.ys.low)
}

func (c *Chart) draw(to *canvas) {
	var names []string
	var colours []int
	for _, s := range c.Series {
		names, colours = append(names, s.Name), append(colours, s.Colour)
	}
	top := to.legend(names, colours)
	lowX, highX, lowY, highY, ok := c.extent()
	if !ok {
		to.text(to.width/2, to.height/2, "middle", "", "no data")
		return
	}
	f := &frame{x: &c.X, y: &c.Y}
	var xTicks, yTicks []float64
	f.xs, xTicks = c.X.fit(lowX, highX)
	f.ys, yTicks = c.Y.fit(lowY, highY)
	margin := 0.0
	for _, v := range yTicks {
		margin = max(margin, textWidth(c.Y.format(v)))
	}
	// What an axis is of stands above it and below it, where it needs no turning.
	to.text(0, top+textSize, "start", "", c.Y.Label)
	f.left, f.right = margin+10, to.width-14
	f.top, f.bottom = top+1.9*lineHeight, to.height-2.3*lineHeight
	to.text(f.right, to.height-4, "end", "", c.X.Label)
	for _, v := range yTicks {
		y := f.py(v)
		to.line("grid", f.left, y, f.right, y, "")
		to.text(f.left-8, y+textSize/3, "end", "", c.Y.format(v))
	}
	f.xAxis(to, xTicks)
	for i := range c.Series {
		// Side by side, ranges of the same value can be told apart.
		const apart = 6
		if f.shift = apart * (float64(i) - float64(len(c.Series)-1)/2); c.Series[i].Plain {
			f.shift = 0
		}
		f.series(to, &c.Series[i])
	}
}

// xAxis draws ticks, and their texts as far as there is room between them.
func (f *frame) xAxis(to *canvas, ticks []float64) {
	to.line("base", f.left, f.bottom, f.right, f.bottom, "")
	// The last, which is often the one that is looked for, comes first.
	free := math.Inf(1)
	for i := len(ticks) - 1; i >= 0; i-- {
		x, text := f.px(ticks[i]), f.x.format(ticks[i])
		if x > f.right+1 || x < f.left-1 {
			continue
		}
		to.line("base", x, f.bottom, x, f.bottom+5, "")
		half := textWidth(text) / 2
		// It stays on the drawing.
		middle := min(max(x, half), to.width-half)
		if middle+half > free {
			continue
		}
		free = middle - half - 6
		to.text(middle, f.bottom+lineHeight, "middle", "", text)
	}
}

func (f *frame) series(to *canvas, s *Series) {
	var path strings.Builder
	var shown []Point
	for _, p := range s.Points {
		if f.x.shows(p.X) && f.y.shows(p.Y) {
			fmt.Fprintf(&path, "%s,%s ", number(f.px(p.X)+f.shift), number(f.py(p.Y)))
			shown = append(shown, p)
		}
	}
	dash := ""
	if s.Colour == 0 {
		dash = ` stroke-dasharray="6 4"`
	}
	to.print(`<polyline class="line" points="%s" stroke="%s"%s>%s</polyline>`,
		strings.TrimSpace(path.String()), paint(s.Colour), dash, tip(s.Name))
	if s.Plain {
		return
	}
	for _, p := range shown {
		if p.Low < p.High && f.y.shows(p.Low) && f.y.shows(p.High) {
			to.whisker(f.px(p.X)+f.shift, f.py(p.Low), f.px(p.X)+f.shift, f.py(p.High), s.Colour)
		}
	}
	for _, p := range shown {
		to.mark(s.Colour, f.px(p.X)+f.shift, f.py(p.Y), p.Note)
	}
}

// whisker draws a range that is upright or level.
func (c *canvas) whisker(x1, y1, x2, y2 float64, colour int) {
	const half = 4
	stroke := fmt.Sprintf(` stroke="%s"`, paint(colour))
	c.line("range", x1, y1, x2, y2, stroke)
	for _, end := range [][2]float64{{x1, y1}, {x2, y2}} {
		if x1 == x2 {
			c.line("range", end[0]-half, end[1], end[0]+half, end[1], stroke)
		} else {
			c.line("range", end[0], end[1]-half, end[0], end[1]+half, stroke)
		}
	}
}

// extent is what all points take, with their ranges.
func (c *Chart) extent() (lowX, highX, lowY, highY float64, ok bool) {
	lowX, lowY, highX, highY = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for i := range c.Series {
		for _, p := range c.Series[i].Points {
			if !c.X.shows(p.X) || !c.Y.shows(p.Y) {
				continue
			}
			ok = true
			lowX, highX = min(lowX, p.X), max(highX, p.X)
			lowY, highY = min(lowY, p.Y), max(highY, p.Y)
			if c.Series[i].Plain {
				continue
			}
			for _, v := range []float64{p.Low, p.High} {
				if c.Y.shows(v) {
					lowY, highY = min(lowY, v), max(highY, v)
				}
			}
		}
	}
	return lowX, highX, lowY, highY, ok
}

// legend names the series in as many lines as it takes, and returns where it
// ends. One series alone needs none.
func (c *canvas) legend(names []string, colours []int) float64 {
	if len(names) < 2 {
		return 0
	}
	const symbol, gap = 26, 18
	x, y := 0.0, 0.0
	for i, name := range names {
		w := symbol + textWidth(name)
		if x > 0 && x+w > c.width {
			x, y = 0, y+lineHeight
		}
		dash := ""
		if colours[i] == 0 {
			dash = ` stroke-dasharray="6 4"`
		}
		c.line("line", x, y+lineHeight/2, x+20, y+lineHeight/2, fmt.Sprintf(` stroke="%s"%s`, paint(colours[i]), dash))
		c.mark(colours[i], x+10, y+lineHeight/2, name)
		c.text(x+symbol, y+lineHeight/2+textSize/3, "start", "name", name)
		x += w + gap
	}
	return y + lineHeight + 8
}
