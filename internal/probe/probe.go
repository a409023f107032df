// Package probe asks the kernel what it, this user and the caller's network namespace
// allow. It changes nothing there, and tries rules in a network namespace of its own. What
// the answers mean for users, and what to do, is ipq's to say.
package probe

import "github.com/goipq/goipq/internal/nfsock"

// Answers are what the kernel has said.
type Answers struct {
	Kernel string         // its release, as of uname -r
	Queues nfsock.Answers // to who would open a queue
	EBPF   error          // of loading a program

	Flowtables    []string // in the caller's namespace, as "table flowtable"
	FlowtablesErr error    // they could not all be read

	// NoNamespace is why there is no namespace to try rules in; then what follows is zero.
	NoNamespace error
	// QueueRule is nft's own queue expression, QueueTarget the NFQUEUE target, Bridge the
	// expression in a bridge's table, and Tracking a rule that reads a connection's mark.
	QueueRule, QueueTarget, Bridge, Tracking Rule
	// Datagrams is how many packets came to a queue without GSO of two datagrams that were
	// sent as one. It is not tried where there are no queues.
	Datagrams    int
	DatagramsErr error
}

// A Rule is what came of trying one.
type Rule struct {
	Lacks bool  // the kernel does not have what it takes
	Err   error // what it answered; nil: it takes the rule
}
