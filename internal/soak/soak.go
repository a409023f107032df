// Package soak says how long soak tests run: a second or two, or what the
// environment's GOIPQ_SOAK says, so that one command soaks the whole module:
//
//	GOIPQ_SOAK=60s go test -run Soak ./...
package soak

import (
	"os"
	"testing"
	"time"
)

// Env is the name of the environment variable.
const Env = "GOIPQ_SOAK"

// Duration returns how long a soak test is to run: what the environment says, or
// short where it says nothing. A value that is no duration fails the test.
func Duration(t testing.TB, short time.Duration) time.Duration {
	t.Helper()
	value := os.Getenv(Env)
	if value == "" {
		return short
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		t.Fatalf("%s=%q is no duration above zero: it may be 90s, 10m or 1h30m, say", Env, value)
	}
	return d
}
