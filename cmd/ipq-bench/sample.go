package main

import (
	"runtime"
	"time"

	"github.com/goipq/goipq/ipq"
)

// A sample is the state of all counts at a time.
type sample struct {
	at time.Time
	tally
	cpu     time.Duration
	mallocs uint64
}

// peek takes a sample of packets, without cpu and mallocs. It allocates little.
func (s *session) peek() sample {
	at := time.Now()
	var sent uint64
	for _, f := range s.floods {
		sent += f.Stats().Sent
	}
	return sample{at: at, tally: tallyOf(s.queue.Stats(), sent)}
}

// begin takes the sample that a window begins with, and finish the one that it
// ends with. Reading the allocator's figures stops the world: they do it outside
// the window, and outside the CPU time that they measure.
func (s *session) begin() sample {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	p := s.peek()
	p.mallocs, p.cpu = mem.Mallocs, processCPU()
	return p
}

func (s *session) finish() sample {
	cpu := processCPU()
	p := s.peek()
	p.cpu = cpu
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	p.mallocs = mem.Mallocs
	return p
}

// between returns the round that the two samples enclose.
func between(begin, end sample) round {
	return round{
		Window:  end.at.Sub(begin.at),
		CPU:     end.cpu - begin.cpu,
		Mallocs: end.mallocs - begin.mallocs,
		tally:   end.tally.minus(begin.tally),
	}
}

func tallyOf(s ipq.Stats, sent uint64) tally {
	return tally{
		Sent:          sent,
		Received:      s.Received,
		Batches:       s.Batches,
		Verdicts:      s.Verdicts,
		Messages:      s.Messages,
		Writes:        s.Writes,
		Parks:         s.Parks,
		Waits:         s.Waits,
		QueueDropped:  s.QueueDropped,
		SocketDropped: s.SocketDropped,
		QueueKnown:    s.Kernel,
	}
}
