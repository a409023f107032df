// Package nfsock is a netlink socket that listens on one netfilter queue: how it
// is opened, or adopted from another process, bound, configured and closed; why
// the kernel refuses something; what the kernel counts; and what interfaces are
// called in the socket's network namespace.
//
// Packets and verdicts do not pass through here: who receives and sends them does
// so on [Socket.FD], within [Socket.Raw].
package nfsock
