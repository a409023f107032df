package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
)

// A load is the processes that send during a round, and those that receive.
type load struct {
	senders, receivers []*flood.Flood
	lag                time.Duration // the longest that takeLag has returned
}

// context is that of the processes. It never ends: they are told to end.
func (*load) context() context.Context { return context.Background() }

// add starts a process in a namespace, and adds it to the others of its kind.
func (l *load) add(kind *[]*flood.Flood, ns *netlab.NS, start func() (*flood.Flood, error)) error {
	return ns.Do(func() error {
		f, err := start()
		if err == nil {
			*kind = append(*kind, f)
		}
		return err
	})
}

// sent is how many packets the senders counted.
func (l *load) sent() (sent uint64) {
	for _, f := range l.senders {
		sent += f.Stats().Sent
	}
	return sent
}

// begun reports whether a sender has sent anything.
func (l *load) begun() bool {
	return slices.ContainsFunc(l.senders, func(f *flood.Flood) bool {
		st := f.Stats()
		return st.Sent > 0 || st.Opened > 0
	})
}

// cpu is the CPU time of all its processes.
func (l *load) cpu() (user, system time.Duration) {
	for _, f := range slices.Concat(l.senders, l.receivers) {
		st := f.Stats()
		user += st.UserCPU
		system += st.CPU - st.UserCPU
	}
	return user, system
}

// takeLag returns the longest time by which a packet was sent too late since it was
// asked last.
func (l *load) takeLag() (lag time.Duration) {
	for _, f := range l.senders {
		lag = max(lag, f.TakeMaxLag())
	}
	l.lag = max(l.lag, lag)
	return lag
}

func (l *load) delivered() (d report.Delivery) {
	for _, f := range l.senders {
		st := f.Stats()
		d.Connections += st.Finished
		d.Failed += st.Failed
	}
	for _, f := range l.receivers {
		d.Bytes += f.Stats().Bytes
	}
	return d
}

// latencies returns those of all connections, or timed datagrams, so far.
func (l *load) latencies() []flood.LatencyCount {
	var all []flood.LatencyCount
	for _, f := range slices.Concat(l.senders, l.receivers) {
		all = append(all, f.Latencies()...)
	}
	return all
}

// A settlement is what a load says at its end.
type settlement struct {
	sent, missed      uint64
	overflowed        uint64        // datagrams that receivers had no room for
	rate              float64       // of packets sent a second, by the senders' clocks
	lag               time.Duration // the longest time by which one was sent too late
	bytesOut, bytesIn uint64
	orderly           bool // all of them ended well before the receivers were stopped
}

// stop ends the senders, waits until the receivers have what was sent, and ends
// them.
func (l *load) stop() (settlement, error) {
	var all settlement
	var errs []error
	var failed uint64
	for _, f := range l.senders {
		st, err := f.Stop()
		failed += st.Failed
		all.sent += st.Sent
		all.missed += st.Refused
		if st.Elapsed > 0 {
			all.rate += float64(st.Sent) / st.Elapsed.Seconds()
		}
		all.lag = max(all.lag, st.MaxLag)
		all.bytesOut += st.Bytes
		errs = append(errs, err)
	}
	all.lag = max(all.lag, l.lag)
	all.orderly = l.awaitEnds()
	for _, f := range l.receivers {
		st, err := f.Stop()
		failed += st.Failed
		all.bytesIn += st.Bytes
		all.overflowed += st.Overflowed
		errs = append(errs, err)
	}
	all.orderly = all.orderly && failed == 0
	return all, errors.Join(errs...)
}

// awaitEnds waits until the receivers' connections are over, and reports whether
// they ended in time. Some may not: what a handler drops is sent again, but later and
// later.
func (l *load) awaitEnds() bool {
	const longest = 500 * time.Millisecond
	for end := time.Now().Add(longest); ; time.Sleep(time.Millisecond) {
		var open uint64
		for _, f := range l.receivers {
			st := f.Stats()
			open += st.Opened - st.Finished - st.Failed
		}
		if open == 0 {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
