package main

import (
	_ "embed"
	"strings"
)

//go:embed packetd.service
var unit string

// setting returns the words that the unit gives a setting, over all its lines.
func setting(name string) (words []string) {
	for line := range strings.Lines(unit) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			words = append(words, strings.Fields(value)...)
		}
	}
	return words
}
