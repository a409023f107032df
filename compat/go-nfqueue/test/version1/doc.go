// Package version1 is a client of go-nfqueue 1, as package test beside it is one of
// version 2. It is a module of its own because a module cannot replace both by folders.
package version1
