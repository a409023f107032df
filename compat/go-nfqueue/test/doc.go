// Package test is a client of go-nfqueue like any other, with the line in its go.mod that
// has it run on goipq. Its tests make the calls that products make, on the real kernel.
package test
