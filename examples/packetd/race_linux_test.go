//go:build race

package main

// raceCalls are what the race detector calls beyond what the service does.
var raceCalls = []string{"personality"}
