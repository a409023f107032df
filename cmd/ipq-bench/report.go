package main

import "time"

// schema is the version of the report's format. It changes when a field
// changes its meaning or goes; fields may be added.
const schema = 2

// A report is what -json writes: how the run was made, every round's raw
// figures, and what they sum up to. Times in fields ending in _ns are
// nanoseconds.
type report struct {
	Schema      int        `json:"schema"`
	Kind        string     `json:"kind"`        // what was measured: see the kinds
	Time        time.Time  `json:"time"`        // when the run began
	Interrupted bool       `json:"interrupted"` // a signal ended it early
	Machine     machine    `json:"machine"`
	Parameters  parameters `json:"parameters"`
	Setup       setup      `json:"setup"`
	Modes       []mode     `json:"modes"`           // in the order of -modes; empty with -sweep
	Sweep       *sweep     `json:"sweep,omitempty"` // with -sweep: its points have the modes
	Soaks       []soak     `json:"soaks,omitempty"` // with -soak, instead of rounds
	Books       books      `json:"books"`
}

// The kinds of runs.
const (
	kindRounds     = "rounds"     // windows at one rate, or at full speed
	kindThroughput = "throughput" // searches for the highest rate without loss
	kindSoak       = "soak"
)

// A machine is what the run was made on and with.
type machine struct {
	Kernel string `json:"kernel"` // uname -r
	Arch   string `json:"arch"`   // GOARCH
	CPU    string `json:"cpu"`    // model name, "" where the kernel has none
	CPUs   int    `json:"cpus"`   // that the process may use
	Go     string `json:"go"`
	Goipq  string `json:"goipq"` // version of the main module
}

// parameters are the flags, and what follows from them.
type parameters struct {
	Modes       []string      `json:"modes"`
	Duration    time.Duration `json:"duration_ns"` // measured time for each mode
	Rounds      int           `json:"rounds"`
	Window      time.Duration `json:"window_ns"`          // measured time of one round
	WarmUp      time.Duration `json:"warm_up_ns"`         // before each window
	Latency     bool          `json:"latency"`            // datagrams are timed
	Soak        time.Duration `json:"soak_ns,omitempty"`  // time for each mode, without rounds
	Trial       time.Duration `json:"trial_ns,omitempty"` // of kindThroughput, without windows
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

// A setup is where the run was made.
type setup struct {
	// Root tells whether the process has root's rights over the machine, not
	// only over its namespaces: they raise the socket buffers.
	Root bool `json:"root"`
	// Rule is the kind of rule that queues: "nft queue expression", "NFQUEUE
	// target" or, without a queue, "".
	Rule string `json:"rule"`
	placement
	GOMAXPROCS int `json:"gomaxprocs"`
	// SendBuffer is the size in bytes of each flood's send buffer; 0: larger
	// than any queue.
	SendBuffer int `json:"send_buffer_bytes"`
	// ReadBuffer is the size in bytes of a queue's socket buffer as granted;
	// 0 before the first round.
	ReadBuffer int `json:"read_buffer_bytes"`
}

// A mode is what was measured of one way of running handlers.
type mode struct {
	Name string `json:"mode"` // "inline", "pool" or "unqueued"
	// Summary has the spread over the rounds of each of metrics, by name; it
	// is empty without a round.
	Summary map[string]spread `json:"summary"`
	Rounds  []round           `json:"rounds"`
	// Latency, BatchSizes and Lost are those of all rounds together; Lost with
	// their warm-ups.
	Latency    *latency   `json:"latency,omitempty"`
	BatchSizes batchSizes `json:"batch_sizes"`
	Lost       losses     `json:"lost"`
	// Throughput has the searches of kindThroughput, which have no rounds.
	Throughput *throughput `json:"throughput,omitempty"`
}

// total is about how long the whole run takes.
func (rep *report) total() time.Duration {
	if rep.Sweep == nil {
		return rep.Parameters.total()
	}
	var sum time.Duration
	for i := range rep.Sweep.Points {
		sum += rep.Sweep.Points[i].Parameters.total()
	}
	return sum
}

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
