// Package nfttable keeps tables of nftables as their makers want them.
//
// A [Table] says what should be there: sets, maps, chains and rules. A [Keeper]
// compares it with what is there, and changes that in one transaction, made for the
// rules as they were when it looked. What is the same stays, and goes on counting;
// base chains stay, so that no packet which waits in a queue is lost. A table that a
// killed process has left is as good a beginning as none; one without its maker's
// comment is not touched.
//
// The package is Linux's. Elsewhere it is empty.
package nfttable
