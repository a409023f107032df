package report

import (
	"fmt"
	"slices"
	"time"
)

// Parameters are the flags, and what follows from them.
type Parameters struct {
	Modes       []string      `json:"modes"`
	Duration    time.Duration `json:"duration_ns"`              // measured time for each mode
	Rounds      int           `json:"rounds"`                   // of each mode
	Window      time.Duration `json:"window_ns"`                // measured time of one round
	WarmUp      time.Duration `json:"warm_up_ns"`               // before each window
	Latency     bool          `json:"latency"`                  // datagrams are timed
	Soak        time.Duration `json:"soak_ns,omitempty"`        // time for each mode, without rounds
	Trial       time.Duration `json:"trial_ns,omitempty"`       // of a throughput run, which has no windows
	Rate        float64       `json:"rate_per_second"`          // of all floods; 0: as many as possible
	Scenario    string        `json:"scenario"`                 // as -scenario takes it
	Handler     string        `json:"handler"`                  // as -handler takes it
	Bypass      *float64      `json:"bypass_percent,omitempty"` // of the flows
	IPv6        bool          `json:"ipv6"`                     // instead of IPv4
	TCP         bool          `json:"tcp"`                      // connections are measured, and flows counts them
	GSO         bool          `json:"gso"`                      // super-packets are queued whole
	IMIX        bool          `json:"imix"`                     // a mix of sizes
	Size        int           `json:"size_bytes"`               // from the IP header on, unless TCP or IMIX
	Flows       int           `json:"flows"`                    // of each flood
	Queues      int           `json:"queues"`                   // each with a receive loop
	MaxQueueLen int           `json:"maxlen"`                   // packets, each queue
	Batch       int           `json:"batch"`                    // packets for one recvmmsg; 0: the mode's default
	Workers     int           `json:"workers"`                  // in the pool
	BusyPoll    time.Duration `json:"busy_poll_ns"`             // for which a receive loop looks for packets before it sleeps
	Pin         bool          `json:"pin"`                      // each receive loop has a CPU of its own
	Metrics     bool          `json:"metrics,omitempty"`        // handlers and verdicts are timed, and metrics served
	Replies     bool          `json:"replies"`                  // the kernel answers what was accepted
}

// The ways of running handlers.
const (
	ModeInline = "inline"
	ModePool   = "pool"
	// ModeUnqueued is the same path without a queue, to compare with.
	ModeUnqueued = "unqueued"
)

// The scenarios.
const (
	ScenarioICMP    = "icmp"
	ScenarioUDP     = "udp"
	ScenarioForward = "forward"
	ScenarioChurn   = "churn"
)

// The kinds of handlers.
const (
	HandleAccept  = "accept"
	HandleDrop    = "drop"
	HandleMix     = "mix"
	HandleParse   = "parse"
	HandleInspect = "inspect"
	HandleRewrite = "rewrite"
	HandleStream  = "stream"
	HandleSpin    = "spin"
	HandleSleep   = "sleep"
)

// What no flag changes.
const (
	// ChurnBytes is what a short connection sends, and gets as an answer: as much
	// as fits into one packet of any path.
	ChurnBytes = 512
	// BlockedFlows is how many flows the table of the handler parse has: more than
	// the nearest cache holds.
	BlockedFlows = 1 << 14
	// Inspected is how many packets of a flow the handler sees before the bypass
	// decides it: as many as it takes to know what most protocols are about.
	Inspected = 10
)

// imix is the packet mix that testers of routers use: of twelve packets seven
// are small, four middling and one is a full frame. The sizes of Ethernet frames
// in it, 64, 594 and 1518, less 18 for their headers, would be 46, 576 and 1500;
// over IPv6 46 bytes have no room for a number, so the small ones have 64. The
// mean is 354 bytes.
var imix = []int{64, 576, 64, 64, 576, 64, 1500, 64, 576, 64, 576, 64}

// Sizes are the sizes that packets have in turn: those of the mix, or only one.
func Sizes(mix bool, size int) []int {
	if mix {
		return imix
	}
	return []int{size}
}

// Title names a mode for people.
func (p *Parameters) Title(mode string) string {
	if mode == ModePool {
		return fmt.Sprintf("pool of %d", p.Workers)
	}
	return mode
}

// Churn tells that short connections are measured.
func (p *Parameters) Churn() bool { return p.Scenario == ScenarioChurn }

// Bulk tells that connections are measured by the bytes that they carry.
func (p *Parameters) Bulk() bool { return p.TCP && !p.Churn() }

// Main is the metric that a scenario is judged by.
func (p *Parameters) Main() Metric {
	switch {
	case p.Churn():
		return MetricNamed(ConnectionRate)
	case p.Bulk():
		return MetricNamed(Goodput)
	}
	return MetricNamed(ArrivedRate)
}

// Shown is the metric that people are told the scenario is judged by. Where
// nothing is compared with the path without a queue, it is what was decided: what
// the handler dropped counts, too.
func (p *Parameters) Shown() Metric {
	x := p.Main()
	if x.Name == ArrivedRate && p.Bypass == nil && !slices.Contains(p.Modes, ModeUnqueued) {
		return MetricNamed(VerdictRate)
	}
	return x
}

// usualTrials is about how many trials a search takes: two or three of each of
// some eight rates, which are full speed and one for each bit of a usual resolution.
const usualTrials = 20

// Total is about how long the run takes, with the time of each round to open a
// queue, start the floods and stop them.
func (p *Parameters) Total() time.Duration {
	const around = 40 * time.Millisecond
	if p.Trial > 0 {
		return time.Duration(p.Rounds*len(p.Modes)*usualTrials) * (p.Trial + around)
	}
	if p.Soak > 0 {
		return time.Duration(len(p.Modes)) * (p.Soak + around)
	}
	return time.Duration(p.Rounds*len(p.Modes)) * (p.WarmUp + p.Window + around)
}
