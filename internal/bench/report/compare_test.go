package report

import (
	"fmt"
	"testing"
)

// With so few rounds the least p there can be is that of the test itself.
func TestSmallestP(t *testing.T) {
	for _, n := range []int{1, 3, 4, 5, 8} {
		var low, high []float64
		for i := range n {
			low, high = append(low, float64(i)), append(high, float64(100+i))
		}
		c := Comparison{Alpha: 1}
		got, want := smallestP(n, n), c.test(Series{Values: low}, Series{Values: high}).P
		if fmt.Sprintf("%.6f", got) != fmt.Sprintf("%.6f", want) {
			t.Errorf("%d rounds: %v, want %v", n, got, want)
		}
	}
}
