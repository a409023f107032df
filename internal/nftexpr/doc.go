// Package nftexpr builds what nft rules consist of: conditions on packets, reads
// and writes of marks, and the expression that queues packets.
//
// A rule is a list of expressions, and so is each of its parts: a [Condition], a
// change of a [Mark], an action. Whoever makes a rule puts parts together and
// keeps the table, its chains and its names.
//
// The package is Linux's. Elsewhere it is empty.
package nftexpr
