package main

import (
	"fmt"
	"slices"
	"time"
)

// parameters are the flags, and what follows from them.
type parameters struct {
	Modes       []string      `json:"modes"`
	Duration    time.Duration `json:"duration_ns"` // measured time for each mode
	Rounds      int           `json:"rounds"`
	Window      time.Duration `json:"window_ns"`          // measured time of one round
	WarmUp      time.Duration `json:"warm_up_ns"`         // before each window
	Latency     bool          `json:"latency"`            // datagrams are timed
	Soak        time.Duration `json:"soak_ns,omitempty"`  // time for each mode, without rounds
	Trial       time.Duration `json:"trial_ns,omitempty"` // of a throughput run, which has no windows
	Rate        float64       `json:"rate_per_second"`    // of all floods; 0: as many as go
	Scenario    string        `json:"scenario"`
	Handler     string        `json:"handler"`
	Bypass      *float64      `json:"bypass_percent,omitempty"` // of the flows
	IPv6        bool          `json:"ipv6"`
	TCP         bool          `json:"tcp"`        // connections, of which the flows are
	GSO         bool          `json:"gso"`        // super-packets are queued whole
	IMIX        bool          `json:"imix"`       // a mix of sizes
	Size        int           `json:"size_bytes"` // from the IP header on, unless TCP or IMIX
	Flows       int           `json:"flows"`      // of each flood
	Queues      int           `json:"queues"`
	MaxQueueLen int           `json:"maxlen"`  // packets, each queue
	Batch       int           `json:"batch"`   // packets for one recvmmsg; 0: the mode's default
	Workers     int           `json:"workers"` // in the pool
	BusyPoll    time.Duration `json:"busy_poll_ns"`
	Pin         bool          `json:"pin"`
	Replies     bool          `json:"replies"` // the kernel answers what was accepted
}

// The ways of running handlers.
const (
	modeInline = "inline"
	modePool   = "pool"
	// modeUnqueued is the same path without a queue, to compare with.
	modeUnqueued = "unqueued"
)

// The scenarios.
const (
	scenarioICMP    = "icmp"
	scenarioUDP     = "udp"
	scenarioForward = "forward"
	scenarioChurn   = "churn"
)

// The kinds of handlers.
const (
	handleAccept  = "accept"
	handleDrop    = "drop"
	handleMix     = "mix"
	handleParse   = "parse"
	handleInspect = "inspect"
	handleRewrite = "rewrite"
	handleSpin    = "spin"
	handleSleep   = "sleep"
)

// What no flag changes.
const (
	// churnBytes is what a short connection sends, and what it is answered with:
	// as much as fits into one packet of any path.
	churnBytes = 512
	// blockedFlows is how many flows the table of the handler parse has: more than
	// the nearest cache holds.
	blockedFlows = 1 << 14
	// inspected is how many packets of a flow the handler sees before the bypass
	// decides it: as many as it takes to know what most protocols are about.
	inspected = 10
)

// imix is the packet mix that testers of routers use: of twelve packets seven
// are small, four middling and one is a full frame. The sizes of Ethernet frames
// in it, 64, 594 and 1518, less 18 for their headers, would be 46, 576 and 1500;
// over IPv6 46 bytes have no room for a number, so the small ones have 64. The
// mean is 354 bytes.
var imix = []int{64, 576, 64, 64, 576, 64, 1500, 64, 576, 64, 576, 64}

// sizes are what packets have in turn: those of the mix, or only the one.
func sizes(mix bool, size int) []int {
	if mix {
		return imix
	}
	return []int{size}
}

// title names a mode for people.
func (p *parameters) title(mode string) string {
	if mode == modePool {
		return fmt.Sprintf("pool of %d", p.Workers)
	}
	return mode
}

// churn tells that short connections are measured.
func (p *parameters) churn() bool { return p.Scenario == scenarioChurn }

// bulk tells that connections are measured by the bytes that they carry.
func (p *parameters) bulk() bool { return p.TCP && !p.churn() }

// main is the metric that a scenario is judged by.
func (p *parameters) main() metric {
	switch {
	case p.churn():
		return metricNamed(connectionRate)
	case p.bulk():
		return metricNamed(goodput)
	}
	return metricNamed(arrivedRate)
}

// shown is the metric that people are told the scenario is judged by. Where
// nothing is compared with the path without a queue, it is what was decided: what
// the handler dropped counts, too.
func (p *parameters) shown() metric {
	x := p.main()
	if x.name == arrivedRate && p.Bypass == nil && !slices.Contains(p.Modes, modeUnqueued) {
		return metricNamed(verdictRate)
	}
	return x
}

// usualTrials is about how many trials a search takes: of some eight rates, full
// speed and one for each bit of a usual resolution, two each or three.
const usualTrials = 20

// total is about how long one plan takes: with each round's time to open a
// queue, start the floods and stop them.
func (p *parameters) total() time.Duration {
	const around = 40 * time.Millisecond
	if p.Trial > 0 {
		return time.Duration(p.Rounds*len(p.Modes)*usualTrials) * (p.Trial + around)
	}
	if p.Soak > 0 {
		return time.Duration(len(p.Modes)) * (p.Soak + around)
	}
	return time.Duration(p.Rounds*len(p.Modes)) * (p.WarmUp + p.Window + around)
}
