//go:build !race

package main

var raceCalls []string
