package main

import "testing"

func TestNumbers(t *testing.T) {
	for want, got := range map[string]string{
		"0":          commas(0),
		"999":        commas(999),
		"1,000":      commas(1000),
		"12,345,678": commas(12_345_678),
		"1,234.5":    fixed(1234.46, 1),
		"1,000 ":     fixed(999.7, 0) + " ",
		"0.001":      fixed(0.0007, 3),
		"1.5 MiB":    mebibytes(3 << 19),
		"1 search":   plural(1, "search"),
		"2 searches": plural(2, "search"),
		"a":          enumerate([]string{"a"}),
		"a and b":    enumerate([]string{"a", "b"}),
		"a, b and c": enumerate([]string{"a", "b", "c"}),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
