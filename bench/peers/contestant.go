//go:build linux

package main

import (
	"os/exec"
	"slices"

	"github.com/goipq/goipq/internal/peers"
)

// A contestant is one program. Where it has a command it runs as a process of
// its own, which tells when it is ready, and on SIGTERM writes figures as JSON
// and exits. It also exits when its standard input ends: the parent has died.
type contestant struct {
	name     string
	title    string // for people
	settings string // how it is tuned
	queues   int    // consecutive queues that it binds, each with a CPU; 0: one
	needs    []need // beside this program
	asked    bool   // it takes part only if it is asked for by name
	// command is the process to run, nil for what needs none; dir is for
	// programs that must be built.
	command func(dir string, s setup) (*exec.Cmd, error)
}

// A need is what must be installed for a contestant.
type need struct {
	what, get string
	test      func() error
}

// A setup is what every contestant that binds a queue is told.
type setup struct {
	Queue       uint16 // number of the first queue
	MaxQueueLen int    // packets the kernel may hold (NFQA_CFG_QUEUE_MAXLEN)
	ReadBuffer  int    // bytes of socket buffer, as the kernel accounts them
	GSO         bool   // super-packets are to be queued whole
}

// ofQueues are the contestants that decide packets: the bare loops, the
// libraries, and goipq.
var ofQueues = []contestant{
	bareBatch, bareEach, libnetfilterQueue,
	goNFQueueExample, goNFQueue,
	goipqInline, goipqPool, goipqHeaders, goipqTwoQueues,
	clientOverGoNFQueue, clientOverGoipq,
}

// contestants are those of a mode.
func contestants(mode string) []contestant {
	switch mode {
	case peers.TCP, peers.TCPShared:
		// Which CPU feeds which of two queues would be up to chance.
		return append([]contestant{unqueued}, without(ofQueues, goipqTwoQueues.name, clientOverGoNFQueue.name, clientOverGoipq.name)...)
	case peers.Generator, peers.GeneratorUDP:
		return []contestant{bareSender, ourFlood}
	}
	return without(ofQueues, goipqHeaders.name) // small packets are headers only
}

func without(list []contestant, names ...string) (rest []contestant) {
	for _, c := range list {
		if !slices.Contains(names, c.name) {
			rest = append(rest, c)
		}
	}
	return rest
}

// entry is the contestant's place in the report.
func (c contestant) entry() peers.Contestant {
	return peers.Contestant{Name: c.name, Title: c.title, Settings: c.settings, Rounds: []peers.Round{}}
}

// missing is what c needs and has not got, nil if it can run.
func (c contestant) missing() *peers.Missing {
	for _, n := range c.needs {
		if n.test() != nil {
			return &peers.Missing{Contestant: c.name, What: n.what, Get: n.get}
		}
	}
	return nil
}
