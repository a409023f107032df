//go:build race

package bypass

const raceEnabled = true
