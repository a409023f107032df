// Package nftconn speaks nf_tables' netlink: transactions, what is there, and
// news of changes.
//
// A [Batch] holds the changes of one transaction on one table, and
// [Conn.Commit] has the kernel make all of them or none. It differs from what
// github.com/google/nftables offers in five points: only the last change is
// acknowledged, so that the answers to thousands of changes need no large
// receive buffer, which a user namespace does not grant; a refusal tells which
// change was refused; a transaction that was made up from a look at the rules
// fails if somebody has changed them since; it has an end only when no packet is on
// its way through the former rules; and tables carry a comment, by which their maker
// knows them again.
//
// The package is Linux's. Elsewhere it is empty.
package nftconn
