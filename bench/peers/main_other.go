//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "peers: netfilter queues exist only on Linux")
	os.Exit(2)
}
