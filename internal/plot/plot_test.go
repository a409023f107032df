package plot

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestSI(t *testing.T) {
	for want, v := range map[string]float64{
		"0": 0, "1": 1, "1.5": 1.5, "999": 999, "1k": 999.6, "1.23k": 1234, "12.3k": 12345, "600k": 6e5,
		"1M": 999_999, "2.5G": 2.5e9, "0.05": 0.05, "0.123": 0.12345, "-5k": -5000,
	} {
		if got := SI(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

// Ticks are round, and enclose the values.
func TestTicks(t *testing.T) {
	for _, c := range []struct {
		axis      Axis
		low, high float64
		want      string
	}{
		{Axis{}, 3, 9.5, "2 4 6 8 10"},
		{Axis{FromZero: true}, 300, 870, "0 200 400 600 800 1k"},
		{Axis{FromZero: true}, 0, 0, "0 0.2 0.4 0.6 0.8 1"},
		{Axis{}, 5, 5, "5 6 7 8 9 10"},
		{Axis{Scale: Log}, 30, 700, "20 50 100 200 500 1k"},
		{Axis{Scale: Log}, 3, 70_000, "1 10 100 1k 10k 100k"},
		{Axis{Scale: Log}, 5, 5, "5 10"},
		{Axis{Scale: Percentile, Format: Percent}, 0, 99.95, "0 % 50 % 90 % 99 % 99.9 %"},
		{Axis{Ticks: []float64{1, 8}}, 1, 8, "1 8"},
	} {
		s, ticks := c.axis.fit(c.low, c.high)
		var got []string
		for _, v := range ticks {
			got = append(got, c.axis.format(v))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%+v, %v to %v: ticks %v, want %s", c.axis, c.low, c.high, text, c.want)
		}
		if low, high := c.axis.at(c.low), c.axis.at(c.high); low < s.low-1e-9 || high > s.high+1e-9 || s.low >= s.high {
			t.Errorf("%+v: %v to %v is not within %+v", c.axis, low, high, s)
		}
	}
}

// Percentiles are as far from each other as nines are.
func TestPercentileScale(t *testing.T) {
	a := Axis{Scale: Percentile}
	for n, v := range []float64{0, 90, 99, 99.9} {
		if got := fmt.Sprintf("%.6f", a.at(v)); got != fmt.Sprintf("%d.000000", n) {
			t.Errorf("%v stands at %s, want %d", v, got, n)
		}
	}
	if a.shows(100) {
		t.Error("100 percent has a place, which is at infinity")
	}
}

func drawings(standalone bool) map[string][]byte {
	lines := Chart{Title: `a "title" <of> lines`, X: Axis{Label: "x", Scale: Log}, Y: Axis{Label: "y", FromZero: true}, Series: []Series{
		{Name: "one <b>", Colour: 0, Points: []Point{{X: 1, Y: 5, Low: 4, High: 6, Note: "1 & 5"}, {X: 8, Y: 50, Low: 40, High: 60}}},
		{Name: "two", Colour: 8, Points: []Point{{X: 1, Y: 7, Low: 7, High: 7}, {X: 0, Y: 9}}}, // no place for 0
	}}
	curve := Chart{Title: "curve", X: Axis{Scale: Percentile, Format: Percent}, Y: Axis{Scale: Log}, Series: []Series{
		{Name: "a", Colour: 1, Plain: true, Points: []Point{{X: 0, Y: 10}, {X: 99, Y: 100}, {X: 100, Y: 1e9}}},
	}}
	empty := Chart{Title: "empty", Series: []Series{{Name: "a"}}}
	bars := Bars{Title: "bars", Label: "packets", Bars: []Bar{
		{Name: "go & nfqueue", Colour: 0, Value: 100, Low: 90, High: 110, Text: "100", Note: "n"},
		{Name: "a long name of a contestant", Colour: 1, Value: 1000, Low: 1000, High: 1000, Text: "1,000 <×10>"},
		{Name: "none", Colour: 2, Value: 0},
	}}
	return map[string][]byte{
		"lines": lines.SVG(820, 360, standalone), "narrow lines": lines.SVG(340, 280, standalone),
		"curve": curve.SVG(820, 360, standalone), "empty": empty.SVG(820, 360, standalone),
		"bars": bars.SVG(820, standalone), "narrow bars": bars.SVG(340, standalone), "no bars": (&Bars{}).SVG(340, standalone),
	}
}

// A drawing is well-formed XML, within its edges, and the same each time.
func TestDrawings(t *testing.T) {
	again := drawings(true)
	for name, text := range drawings(true) {
		if string(text) != string(again[name]) {
			t.Errorf("%s: it differs when drawn again", name)
		}
		d := xml.NewDecoder(strings.NewReader(string(text)))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v in %s", name, err, text)
			}
		}
		if strings.Contains(string(text), "NaN") || strings.Contains(string(text), "Inf") {
			t.Errorf("%s has what is no number: %s", name, text)
		}
		box := regexp.MustCompile(`viewBox="0 0 (\S+) (\S+)"`).FindSubmatch(text)
		for i, names := range []string{"x|x1|x2|cx", "y|y1|y2|cy"} {
			limit, err := strconv.ParseFloat(string(box[i+1]), 64)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range regexp.MustCompile(` (?:`+names+`)="(\S+)"`).FindAllSubmatch(text, -1) {
				if v, err := strconv.ParseFloat(string(at[1]), 64); err != nil || v < 0 || v > limit {
					t.Errorf("%s: %s is not within %v", name, at[0], limit)
				}
			}
		}
	}
}

// A file brings its colours, a part of a page has them from there. Both know
// dark paper.
func TestStandalone(t *testing.T) {
	for _, standalone := range []bool{false, true} {
		text := string(drawings(standalone)["lines"])
		if strings.Contains(text, "prefers-color-scheme:dark") != standalone || strings.Contains(text, "xmlns=") != standalone {
			t.Errorf("standalone %v: %.300s", standalone, text)
		}
		if regexp.MustCompile(`(fill|stroke)="#`).MatchString(text) {
			t.Error("a colour is fixed, so that it cannot be changed for dark paper")
		}
	}
	for n := 0; n <= Colours; n++ {
		if got := strings.Count(Style, fmt.Sprintf("--plot-%d:", n)); got != 2 {
			t.Errorf("colour %d is set %d times, want once for each paper", n, got)
		}
	}
}

func TestNothingToDraw(t *testing.T) {
	if text := string(drawings(false)["empty"]); !strings.Contains(text, "no data") {
		t.Errorf("an empty chart does not say so: %s", text)
	}
}
