// Package soak has the test flag -soak, so that one command soaks the whole
// module:
//
//	go test -run Soak -soak 60s ./...
//
// go test hands its flags to the test binary of every package, and one that
// does not know a flag fails. So every package with tests imports this one.
package soak

import (
	"flag"
	"time"
)

var duration = flag.Duration("soak", 0, "how long each soak test runs; 0: a second or two")

// Duration returns how long a soak test is to run: what the flag says, or short
// without it.
func Duration(short time.Duration) time.Duration {
	if *duration > 0 {
		return *duration
	}
	return short
}
