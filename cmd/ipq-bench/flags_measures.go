package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
)

const (
	minTrial, maxTrial           = 50 * time.Millisecond, time.Hour
	minResolution, maxResolution = 0.1, 50
	maxTries                     = 99
	// A timed datagram has IP and UDP headers, its number, and its time.
	timedSize, timedSize6 = 20 + 8 + 16, 40 + 8 + 16
)

// checkMeasures says which options do not go with what is measured.
func (o *options) checkMeasures(set map[string]bool) error {
	if err := o.checkSearch(set); err != nil || !o.Latency {
		return err
	}
	least := timedSize
	if o.IPv6 {
		least = timedSize6
	}
	switch {
	case o.Scenario != report.ScenarioUDP && (o.Scenario != report.ScenarioForward || o.TCP):
		return errors.New("-latency times datagrams: -scenario udp, or forward without -tcp; churn always times its connections")
	case o.Rate == 0:
		return errors.New("-latency needs a -rate: at full speed no packet is due at a certain time")
	case !o.IMIX && o.Size < least:
		return fmt.Errorf("-size %d has no room for a time stamp: -latency needs %d bytes", o.Size, least)
	case o.Soak > 0:
		return errors.New("-latency and -soak exclude each other")
	}
	return nil
}

// checkSearch is checkMeasures for -rfc2544.
func (o *options) checkSearch(set map[string]bool) error {
	if !o.RFC2544 {
		for _, name := range []string{"trial", "resolution", "tries"} {
			if set[name] {
				return fmt.Errorf("-%s is for -rfc2544", name)
			}
		}
		return nil
	}
	switch {
	case o.tcp():
		return errors.New("-rfc2544 offers packets at a given rate: TCP finds a rate of its own")
	case o.Rate > 0:
		return errors.New("-rfc2544 searches for the rate: -rate is not for it")
	case o.Soak > 0 || o.Latency:
		return errors.New("-rfc2544 excludes -soak and -latency")
	case set["duration"]:
		return errors.New("-duration is not for -rfc2544: -trial sets the time of each trial")
	case o.Trial < minTrial || o.Trial > maxTrial:
		return fmt.Errorf("-trial %v is not between %v and %v", o.Trial, minTrial, maxTrial)
	case !(o.Resolution >= minResolution && o.Resolution <= maxResolution): // NaN, too
		return fmt.Errorf("-resolution %v is not between %v and %v percent", o.Resolution, minResolution, maxResolution)
	case o.Tries < 1 || o.Tries > maxTries:
		return fmt.Errorf("-tries %d is not between 1 and %d", o.Tries, maxTries)
	}
	return nil
}
