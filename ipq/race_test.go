//go:build race

package ipq

const raceEnabled = true
