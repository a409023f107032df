package main

import (
	"math"
	"strconv"
	"strings"
)

// commas writes n with a comma between thousands.
func commas(n uint64) string { return group(strconv.FormatUint(n, 10)) }

// fixed writes x, which is not negative, with so many decimals and a comma
// between thousands, or "-" for what is not a number.
func fixed(x float64, decimals int) string {
	if math.IsNaN(x) {
		return "-"
	}
	whole, fraction, ok := strings.Cut(strconv.FormatFloat(x, 'f', decimals, 64), ".")
	if ok {
		return group(whole) + "." + fraction
	}
	return group(whole)
}

func group(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
