//go:build race

package main

// underRace tells that the race detector's own memory is part of ours.
const underRace = true
