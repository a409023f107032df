package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/goipq/goipq/internal/bench/report"
)

// A scenario is a private network with a queue in it and a load that passes it.
type scenario interface {
	// build makes the network, without any rule.
	build(o *options) (*site, error)
	// start starts the load. If there is an error, the load has what was started
	// before.
	start(s *site, o *options, on report.Placement, sendBuffer int) (*load, error)
}

// scenarioNames are what -scenario chooses from.
var scenarioNames = []string{report.ScenarioICMP, report.ScenarioUDP, report.ScenarioForward, report.ScenarioChurn}

// scenario returns the one that the options choose; they have been checked.
func (o *options) scenario() scenario {
	switch {
	case o.Scenario == report.ScenarioUDP:
		return udp{}
	case o.Scenario == report.ScenarioForward && o.TCP:
		return forwardTCP{}
	case o.Scenario == report.ScenarioForward:
		return forwardUDP{}
	case o.Scenario == report.ScenarioChurn:
		return churn{}
	}
	return icmp{}
}

// checkScenario says which options do not go with the scenario.
func (o *options) checkScenario(set map[string]bool) error {
	if !slices.Contains(scenarioNames, o.Scenario) {
		return fmt.Errorf("-scenario: there is no %q, only %s", o.Scenario, strings.Join(scenarioNames, ", "))
	}
	loopback := o.Scenario == report.ScenarioICMP || o.Scenario == report.ScenarioUDP
	tcp := o.tcp()
	for _, c := range []struct {
		wrong bool
		text  string
	}{
		{o.Replies && o.Scenario != report.ScenarioICMP, "-replies is for -scenario icmp"},
		{o.TCP && o.Scenario != report.ScenarioForward, "-tcp is for -scenario forward"},
		{set["gso"] && !tcp, "-gso is for TCP: -scenario churn, or forward with -tcp"},
		{o.Rate > 0 && tcp && o.Scenario != report.ScenarioChurn, "-rate is not for -tcp: its streams send as much as they can"},
		{set["size"] && tcp, "-size is not for TCP, which makes its own packets"},
		{o.Handler.kind == report.HandleStream && !tcp, "-handler stream is for TCP: -scenario churn, or forward with -tcp"},
		{o.IMIX && tcp, "-imix is not for TCP, which makes its own packets"},
		{o.IMIX && set["size"], "-imix and -size exclude each other"},
		{!loopback && o.Size > maxRouted, fmt.Sprintf("-size %d is more than the %d bytes of the links' jumbo frames", o.Size, maxRouted)},
		{o.IPv6 && !tcp && !o.IMIX && o.Size < 56, fmt.Sprintf("-size %d is not between 56 and 65535 over IPv6", o.Size)},
	} {
		if c.wrong {
			return fmt.Errorf("%s", c.text)
		}
	}
	return nil
}

// tcp tells that connections are measured, not packets.
func (o *options) tcp() bool { return o.TCP || o.Scenario == report.ScenarioChurn }

// gso tells that TCP's super-packets are queued whole.
func (o *options) gso() bool { return o.GSO && o.tcp() }

// sizes are what packets have in turn.
func (o *options) sizes() []int { return report.Sizes(o.IMIX, o.Size) }

func (o *options) family() uint8 {
	if o.IPv6 {
		return syscall.AF_INET6
	}
	return syscall.AF_INET
}

// Addresses for tests of networks (RFC 2544, RFC 5180). The receiver has all of
// them, so that each flow has an address of its own.
var (
	testNet4 = netip.MustParsePrefix("198.19.0.0/16")
	testNet6 = netip.MustParsePrefix("2001:2:0:1::/112")
)

func (o *options) testNet() netip.Prefix {
	if o.IPv6 {
		return testNet6
	}
	return testNet4
}

// flows is over how many flows each sender spreads its load: what -flows says,
// or else, of packets, many times the workers of any pool, so that all are busy; of
// connections, as many as share a link without waiting for each other.
func (o *options) flows() int {
	switch {
	case o.Flows > 0:
		return o.Flows
	case o.Scenario == report.ScenarioChurn:
		return 32
	case o.TCP:
		return 8
	}
	return 1024
}
