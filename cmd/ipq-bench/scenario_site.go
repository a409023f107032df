package main

import (
	"errors"
	"time"

	"github.com/goipq/goipq/internal/netlab"
)

// A site is the private network of a scenario, with the rules in it.
type site struct {
	// client and server are where the load begins and ends; at is where the
	// queue is. They may be one.
	client, at, server *netlab.NS
	spaces             []*netlab.NS // each once

	rule netlab.Rule // what is queued
	// sinks are where packets arrive behind the queue.
	sinks []sink
	// sent tells whether the senders count their packets.
	sent bool

	queued   bool // there is a queue; otherwise packets pass
	ruled    counted
	shortcut *shortcut // nil without a bypass
	sunk     []counted
	gates    []*netlab.Ruleset // rules that drop what connections still send
}

// A sink is a place where packets arrive, and may end.
type sink struct {
	at    *netlab.NS
	hook  netlab.Hook
	match netlab.Match
	drop  bool
}

// install puts the rules in place: a counter where packets arrive, and the
// queue, or for comparison a counter in its place.
func (s *site) install(queued, fanout bool, queues int, bypass bool) (err error) {
	s.queued = queued
	for _, sink := range s.sinks {
		var c counted
		if sink.drop {
			c.rules, err = sink.at.InstallDrop(sink.hook, 0, sink.match)
		} else {
			c.rules, err = sink.at.InstallCounter(sink.hook, 0, sink.match)
		}
		if err != nil {
			return err
		}
		s.sunk = append(s.sunk, c)
	}
	if !queued {
		s.ruled.rules, err = s.at.InstallCounter(s.rule.Hook, s.rule.Priority, s.rule.Match)
		return err
	}
	s.rule.Queues, s.rule.FanoutCPU = queues, fanout
	if bypass {
		return s.installBypass()
	}
	s.ruled.rules, err = s.at.InstallQueue(s.rule)
	return err
}

// kind says what kind of rule queues.
func (s *site) kind() string {
	switch rules, ok := s.ruled.rules.(*netlab.Ruleset); {
	case !ok:
		return "ruleset of package bypass"
	case rules.UsesTarget():
		return "NFQUEUE target"
	}
	return "nft queue expression"
}

// passed returns how many packets came to the rule, how many the bypass accepted
// in front of it, and how many came to the other end, since the round began.
func (s *site) passed() (ruled, bypassed, arrived uint64, err error) {
	if ruled, err = s.ruled.sinceMark(); err != nil {
		return 0, 0, 0, err
	}
	if bypassed, err = s.shortcut.sinceMark(); err != nil {
		return 0, 0, 0, err
	}
	for i := range s.sunk {
		n, err := s.sunk[i].sinceMark()
		if err != nil {
			return 0, 0, 0, err
		}
		arrived += n
	}
	return ruled, bypassed, arrived, nil
}

// mark begins the round's counts.
func (s *site) mark() error {
	err := errors.Join(s.shortcut.mark(), s.ruled.mark())
	for i := range s.sunk {
		err = errors.Join(err, s.sunk[i].mark())
	}
	return err
}

// shut keeps the connections of a round that has ended from sending any more: their
// kernels would send again what was lost, for minutes. open ends that.
func (s *site) shut() error {
	if s.sent || len(s.gates) > 0 {
		return nil
	}
	for _, ns := range []*netlab.NS{s.client, s.server} {
		gate, err := ns.InstallDrop(netlab.Output, 0, netlab.Match{L4Proto: s.rule.Match.L4Proto})
		if err != nil {
			return err
		}
		s.gates = append(s.gates, gate)
	}
	return nil
}

func (s *site) open() error {
	var errs []error
	for _, gate := range s.gates {
		errs = append(errs, gate.Remove())
	}
	s.gates = nil
	return errors.Join(errs...)
}

// awaitSent waits until as many packets have come to the rule as were sent. Where nobody
// counts these, or some were lost before, it waits until no more come.
func (s *site) awaitSent(sent uint64) error {
	return await(100, func() (now [2]uint64, all bool, err error) {
		now[0], now[1], _, err = s.passed()
		return now, s.sent && now[0]+now[1] == sent, err
	})
}

// await reads counts until they are all that is expected, or so many readings, a
// millisecond apart or more, have been the same. A machine that stands still meanwhile
// takes nothing of these.
func await[T comparable](same int, read func() (now T, all bool, err error)) error {
	var last T
	for n := 0; n < same; time.Sleep(time.Millisecond) {
		now, all, err := read()
		if err != nil || all {
			return err
		}
		if n++; now != last {
			last, n = now, 0
		}
	}
	return nil
}

func (s *site) close() error {
	errs := []error{s.shortcut.close()}
	for _, ns := range s.spaces {
		errs = append(errs, ns.Close())
	}
	return errors.Join(errs...)
}

// counted is a ruleset, and what its counters were when the round began.
type counted struct {
	rules interface {
		Counters() ([]netlab.Counter, error)
	}
	marked uint64
}

func (c *counted) total() (uint64, error) {
	counters, err := c.rules.Counters()
	var sum uint64
	for _, counter := range counters {
		sum += counter.Packets
	}
	return sum, err
}

func (c *counted) mark() (err error) {
	c.marked, err = c.total()
	return err
}

func (c *counted) sinceMark() (uint64, error) {
	now, err := c.total()
	return now - c.marked, err
}
