// Package plain writes what people read in a terminal: numbers with units,
// columns, and text that is as wide as the terminal is. The other packages of
// ipq-bench stand on it; it knows nothing of what is measured.
package plain
