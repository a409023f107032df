package main

import (
	"runtime"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/flood"
)

// A sample is the state of all counts at a time.
type sample struct {
	at time.Time
	report.Tally
	user, system time.Duration // CPU of this process
	// CPU of the processes that send and receive.
	loadUser, loadSystem time.Duration
	machine              report.MachineCPU
	mallocs              uint64
	times                []flood.LatencyCount
}

// peek takes a sample of the packets only. It allocates little.
func (s *session) peek() sample {
	at := time.Now()
	t := s.tally()
	t.Sent = s.load.sent()
	t.Delivery = s.load.delivered()
	if s.queue == nil {
		t.Ruled, t.Bypassed, t.Arrived, _ = s.site.passed() // shown only
	}
	return sample{at: at, Tally: t}
}

// begin takes the sample that a window begins with, and finish the one that it ends
// with. Reading the allocator's figures stops the world, so they do it outside of the
// window and of the CPU time that they measure.
func (s *session) begin() (sample, error) {
	times := s.load.latencies()
	ruled, bypassed, arrived, err := s.site.passed()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	p := s.peek()
	p.Ruled, p.Bypassed, p.Arrived, p.times = ruled, bypassed, arrived, times
	p.mallocs, p.machine = mem.Mallocs, readMachineCPU()
	p.loadUser, p.loadSystem = s.load.cpu()
	p.user, p.system = processCPU()
	return p, err
}

func (s *session) finish() (sample, error) {
	user, system := processCPU()
	loadUser, loadSystem := s.load.cpu()
	machine := readMachineCPU()
	p := s.peek()
	p.user, p.system, p.machine = user, system, machine
	p.loadUser, p.loadSystem = loadUser, loadSystem
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	p.mallocs = mem.Mallocs
	var err error
	p.Ruled, p.Bypassed, p.Arrived, err = s.site.passed()
	p.times = s.load.latencies()
	return p, err
}

// between returns the round that the two samples enclose.
func between(begin, end sample) report.Round {
	rd := report.Round{
		Window:    end.at.Sub(begin.at),
		CPUUser:   end.user - begin.user,
		CPUSystem: end.system - begin.system,
		LoadCPU:   end.loadUser + end.loadSystem - begin.loadUser - begin.loadSystem,
		Machine:   end.machine.Minus(begin.machine),
		Mallocs:   end.mallocs - begin.mallocs,
		Tally:     end.Tally.Minus(begin.Tally),
		Times:     timesBetween(begin.times, end.times),
	}
	rd.Latency = rd.Times.Latency()
	rd.CPU = rd.CPUUser + rd.CPUSystem
	rd.User = rd.CPUUser + end.loadUser - begin.loadUser
	rd.Noise = report.NoiseOf(rd.Window, rd.Machine, rd.User)
	return rd
}

// timesBetween returns what was timed between two readings.
func timesBetween(begin, end []flood.LatencyCount) report.Times {
	t := make(report.Times)
	for _, c := range end {
		t[c.Upper] += int64(c.Count)
	}
	for _, c := range begin {
		t[c.Upper] -= int64(c.Count)
	}
	return t
}

// tally returns the counts of the queue, if there is one.
func (s *session) tally() report.Tally {
	if s.queue == nil {
		return report.Tally{QueueKnown: true}
	}
	st := s.queue.Stats()
	return report.Tally{
		Received:       st.Received,
		Batches:        st.Batches,
		BatchSizes:     st.BatchSizes,
		Verdicts:       st.Verdicts,
		Accepted:       st.Accepted,
		HandlerDropped: st.Dropped,
		Messages:       st.Messages,
		Writes:         st.Writes,
		Parks:          st.Parks,
		Waits:          st.Waits,
		QueueDropped:   st.QueueDropped,
		SocketDropped:  st.SocketDropped,
		QueueKnown:     st.KernelKnown,
		Sequence:       st.Sequence,
	}
}
