// Package peers is what bench/peers and ipq-bench have in common: the flags of
// a comparison of goipq with other programs, and the report that it writes.
//
// bench/peers is a module of its own, so that goipq depends on none of its
// rivals. It measures and writes a [Report]; ipq-bench runs it and reads that.
package peers
