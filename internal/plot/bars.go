package plot

import "math"

// Bars compares quantities of one kind, each a bar from 0.
type Bars struct {
	Title  string
	Label  string               // of the quantity
	Format func(float64) string // of the axis; nil is [SI]
	Bars   []Bar
}

// A Bar is one of them. Low and High are its range; without one they are both
// Value.
type Bar struct {
	Name             string
	Colour           int
	Value, Low, High float64
	Text             string // beside it: its value, for people
	Note             string // the tooltip
}

// SVG draws the bars in so many pixels, and as high as it takes. Standalone is
// as in [Chart.SVG].
func (b *Bars) SVG(width int, standalone bool) []byte {
	each := b.each(width)
	height := each*float64(len(b.Bars)) + 2.6*lineHeight
	return drawing(b.Title, float64(width), height, standalone, func(c *canvas) { b.draw(c, each) })
}

const (
	thickness = 16.0
	// narrow is the width up to which names stand above their bars rather than
	// before them.
	narrow = 520
)

func (b *Bars) each(width int) float64 {
	if width <= narrow {
		return thickness + lineHeight + 10
	}
	return thickness + 14
}

func (b *Bars) draw(c *canvas, each float64) {
	axis := Axis{Format: b.Format, FromZero: true}
	high, names := 0.0, 0.0
	for _, bar := range b.Bars {
		high = max(high, bar.Value, bar.High)
		names = max(names, textWidth(bar.Name))
	}
	s, ticks := axis.fit(0, high)
	above := c.width <= narrow
	left, right := names+12, c.width-16.0
	if above {
		left = 2
	}
	// The values are written behind the bars, which leave them the room.
	const gap = 8
	for _, bar := range b.Bars {
		if end := max(bar.Value, bar.High); end > 0 {
			right = min(right, left+(c.width-gap-textWidth(bar.Text)-left)*s.high/end)
		}
	}
	at := func(v float64) float64 { return left + (right-left)*v/s.high }
	bottom := each*float64(len(b.Bars)) + 4
	free := -math.MaxFloat64
	for _, v := range ticks {
		x, text := at(v), axis.format(v)
		c.line("grid", x, 0, x, bottom, "")
		half := textWidth(text) / 2
		middle := min(max(x, half), c.width-half)
		if middle-half < free {
			continue
		}
		free = middle + half + 6
		c.text(middle, bottom+lineHeight-4, "middle", "", text)
	}
	c.text(right, bottom+1.9*lineHeight, "end", "", b.Label)
	for i, bar := range b.Bars {
		y := each*float64(i) + 4
		if above {
			c.text(left+6, y+textSize, "start", "name", bar.Name)
			y += lineHeight
		} else {
			c.text(left-10, y+thickness/2+textSize/3, "end", "name", bar.Name)
		}
		c.print(`<rect x="%s" y="%s" width="%s" height="%s" rx="2" fill="%s">%s</rect>`, number(left), number(y),
			number(max(at(bar.Value)-left, 1)), number(thickness), paint(bar.Colour), tip(bar.Note))
		end := at(bar.Value)
		if bar.Low < bar.High {
			middle := y + thickness/2
			c.line("ends", at(bar.Low), middle, at(bar.High), middle, "")
			for _, v := range []float64{bar.Low, bar.High} {
				c.line("ends", at(v), middle-4, at(v), middle+4, "")
			}
			end = max(end, at(bar.High))
		}
		c.text(end+gap, y+thickness/2+textSize/3, "start", "name", bar.Text)
	}
	c.line("base", left, 0, left, bottom, "")
}
