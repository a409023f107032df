package worker

import "errors"

var (
	// ErrClosed reports a task submitted after Close began. The task was
	// not accepted and will not run.
	ErrClosed = errors.New("worker: pool is closed")

	// ErrFull reports a TrySubmit to a strand on which Depth tasks wait
	// already. The task was not accepted; try later, or use Submit, which
	// waits for room.
	ErrFull = errors.New("worker: strand is full")

	// ErrNoStrand reports a strand number outside 0..Strands-1. The error
	// that wraps it names the number and the range.
	ErrNoStrand = errors.New("worker: no such strand")

	// ErrGoexit is the value OnPanic is given for a task that ended its
	// goroutine with runtime.Goexit, as testing's FailNow and SkipNow do.
	ErrGoexit = errors.New("worker: task called runtime.Goexit")
)
