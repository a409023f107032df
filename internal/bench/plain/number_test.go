package plain

import "testing"

func TestNumbers(t *testing.T) {
	for want, got := range map[string]string{
		"0":          Commas(0),
		"999":        Commas(999),
		"1,000":      Commas(1000),
		"12,345,678": Commas(12_345_678),
		"1,234.5":    Fixed(1234.46, 1),
		"1,000 ":     Fixed(999.7, 0) + " ",
		"0.001":      Fixed(0.0007, 3),
		"1.5 MiB":    Mebibytes(3 << 19),
		"1 search":   Plural(1, "search"),
		"2 searches": Plural(2, "search"),
		"a":          Enumerate([]string{"a"}),
		"a and b":    Enumerate([]string{"a", "b"}),
		"a, b and c": Enumerate([]string{"a", "b", "c"}),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
