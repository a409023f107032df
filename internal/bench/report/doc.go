// Package report has what a run of ipq-bench finds: the types of its JSON file,
// the figures that follow from each round, their spread over the rounds, what
// makes them noisy, and how two reports compare. It measures nothing, and it
// prints nothing.
package report
