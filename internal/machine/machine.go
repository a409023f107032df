// Package machine is what the machine gives this process: how much memory and address
// space it may take, and CPUs to run on. It knows nothing of queues.
package machine

import "fmt"

// A Limit is how many bytes something allows.
type Limit struct {
	Bytes uint64
	By    string // who allows no more, as the beginning of a sentence; "" if nobody is known
}

// TooFewCPUs says that this process may not use as many CPUs as are to be pinned to.
type TooFewCPUs struct{ Want, Have int }

// Error implements error.
func (e *TooFewCPUs) Error() string {
	return fmt.Sprintf("%d CPUs are wanted, and this process may use %d", e.Want, e.Have)
}
