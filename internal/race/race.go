//go:build race

// Package race says whether this program was built with the race detector.
package race

// Enabled says so.
const Enabled = true
