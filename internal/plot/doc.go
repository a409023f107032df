// Package plot draws the charts of benchmark reports as SVG: lines with the
// range of each point, latency percentiles on the axis that HDR histograms are
// shown on, and bars with their range.
//
// Colours are CSS custom properties, so that one drawing reads well on light and
// dark paper, in a page that sets them or by itself (see [Style]). Each point
// has its figures as a tooltip, the chart has its title for those who cannot see
// it. Nothing is loaded from elsewhere, no script is needed, and the same data
// gives the same bytes, so that drawings can be kept under version control.
//
// The chart libraries for Go were looked at: gonum.org/v1/plot and
// github.com/go-analyze/charts write fixed colours into their SVG, and measure
// text with font rasterisers that come with them; neither has a percentile axis,
// and the latter no logarithmic one. What is left to draw is little.
package plot
