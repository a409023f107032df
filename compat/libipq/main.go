//go:build linux && cgo

// Libipq is libipq(3) for today's kernels: a shared library for C programs, over
// package ipq.
//
//	go build -buildmode=c-shared -o libipq.so .
//
// README.md has how to build and install it, libipq.3 what it does.
//
// C has the handles, and all that is to work before Go runs: see start.c. Go has the
// packets and verdicts.
package main

// #cgo LDFLAGS: -Wl,--wrap=x_cgo_sys_thread_create
import "C"

func main() {} // which a library has, and nobody calls
