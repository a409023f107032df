package plain

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Commas writes n with a comma between thousands.
func Commas(n uint64) string { return group(strconv.FormatUint(n, 10)) }

// Fixed writes x, which is not negative, with that many decimals and a comma
// between thousands. It writes "-" for NaN.
func Fixed(x float64, decimals int) string {
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

// Mebibytes writes a number of bytes in MiB.
func Mebibytes(n uint64) string { return Fixed(float64(n)/(1<<20), 1) + " MiB" }

// Plural writes how many there are of a noun: "1 round", "2 searches".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "ch") {
		noun += "e"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Enumerate returns for example "a, b and c".
func Enumerate(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
