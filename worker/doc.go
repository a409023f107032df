// Package worker is a bounded pool of goroutines that runs tasks on ordered
// strands.
//
// A strand is a queue whose tasks run one at a time in the order submitted,
// each completely finished before the next begins, on any of the pool's
// workers. Different strands run in parallel. So work that must stay in order
// among itself (the packets of one flow, the events of one session) goes to
// one strand, usually chosen by a hash, and needs no lock there:
//
//	pool.Submit(int(hash%strands), task)
//
// # Bounds
//
// At most Workers tasks run at once and at most Depth wait on each strand;
// Submit blocks beyond that, TrySubmit returns ErrFull. All queues are
// allocated by New, and in steady state Submit allocates nothing. Idle
// workers sleep.
//
// # Order and fairness
//
// Everything a task did happens before the next task of its strand begins.
// Strands that wait for a worker are served in turn: one that always has more
// tasks yields to the others after a small number of them. A slow task delays
// its own strand, and others only when every worker is taken by one.
//
// # Latency
//
// A task submitted to an idle pool starts at once if its submitter then waits
// for something. If the submitter computes on, Go's scheduler keeps the woken
// worker for the submitter's own processor a while, and another processor
// takes it over only after some tens of microseconds. A submitter that does
// not wait by itself can call runtime.Gosched after a group of submissions
// (unless it is locked to its thread, where that is dear).
//
// # Failure
//
// A task that panics, or ends its goroutine with runtime.Goexit, harms no
// other: it is counted, reported to OnPanic, and the strand goes on with the
// next task.
package worker
