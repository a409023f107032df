package report

import (
	"slices"
	"time"
)

// schema is the version of the report's format. It changes when a field
// changes its meaning or goes; fields may be added.
const schema = 3

// A Report is what -json writes: how the run was made, every round's raw
// figures, and what they sum up to. Times in fields ending in _ns are
// nanoseconds.
type Report struct {
	Schema      int        `json:"schema"`      // version of the format
	Kind        string     `json:"kind"`        // "rounds", "throughput" or "soak"
	Time        time.Time  `json:"time"`        // when the run began
	Interrupted bool       `json:"interrupted"` // a signal ended it early
	Machine     Machine    `json:"machine"`
	Parameters  Parameters `json:"parameters"`
	Setup       Setup      `json:"setup"`
	Modes       []Mode     `json:"modes"`           // in the order of -modes; empty with -sweep
	Sweep       *Sweep     `json:"sweep,omitempty"` // with -sweep: its points have the modes
	Soaks       []Soak     `json:"soaks,omitempty"` // with -soak, instead of rounds
	Books       Books      `json:"books"`
}

// The kinds of runs.
const (
	KindRounds     = "rounds"     // windows at one rate, or at full speed
	KindThroughput = "throughput" // searches for the highest rate without loss
	KindSoak       = "soak"
)

// New returns the report of a run that begins now.
func New(kind string, on Machine) *Report {
	return &Report{
		Schema:  schema,
		Kind:    kind,
		Time:    time.Now().UTC(),
		Machine: on,
		Books:   Books{Balanced: true, LostKnown: true, Problems: []string{}},
	}
}

// A Machine is what the run was made on and with.
type Machine struct {
	Kernel string `json:"kernel"` // uname -r
	Arch   string `json:"arch"`   // GOARCH
	CPU    string `json:"cpu"`    // model name, "" where the kernel has none
	CPUs   int    `json:"cpus"`   // that the process may use
	Go     string `json:"go"`     // runtime.Version
	Goipq  string `json:"goipq"`  // version of the main module
}

// A Setup is where the run was made.
type Setup struct {
	// Root tells whether the process has root's rights over the machine, not
	// only over its namespaces: they raise the socket buffers.
	Root bool `json:"root"`
	// Rule is the kind of rule that queues: "nft queue expression", "NFQUEUE
	// target" or, without a queue, "".
	Rule string `json:"rule"`
	Placement
	GOMAXPROCS int `json:"gomaxprocs"` // of this process
	// SendBuffer is the size in bytes of each flood's send buffer; 0: larger
	// than any queue.
	SendBuffer int `json:"send_buffer_bytes"`
	// ReadBuffer is the size in bytes of a queue's socket buffer as granted;
	// 0 before the first round.
	ReadBuffer int `json:"read_buffer_bytes"`
}

// A Placement says which process runs on which CPUs.
type Placement struct {
	// Flood has one CPU for each flood process, to which it is pinned.
	Flood []int `json:"flood_cpus"`
	// Consumer are the CPUs that this process, the consumer, is kept to.
	Consumer []int `json:"consumer_cpus"`
	// Fanout tells that the rule chooses the queue by the CPU that a packet is
	// sent from, rather than by a hash of its addresses.
	Fanout bool `json:"fanout_cpu"`
}

// Shared reports whether floods and consumer compete for a CPU.
func (p Placement) Shared() bool { return slices.Contains(p.Consumer, p.Flood[0]) }

// A Mode is what was measured of one way of running handlers.
type Mode struct {
	Name string `json:"mode"` // "inline", "pool" or "unqueued"
	// Summary has the spread over the rounds of each of metrics, by name; it
	// is empty without a round.
	Summary map[string]Spread `json:"summary"`
	Rounds  []Round           `json:"rounds"`
	// Latency is that of all rounds together. Where half of them or more were not
	// disturbed, it is that of those only.
	Latency *Latency `json:"latency,omitempty"`
	// BatchSizes and Lost are those of all rounds together; Lost with their warm-ups.
	BatchSizes BatchSizes `json:"batches_up_to"`
	Lost       Losses     `json:"lost"`
	// Throughput has the searches of a run of that kind, which has no rounds.
	Throughput *Throughput `json:"throughput,omitempty"`
}

// Guessed reports whether the kernel did not tell what it dropped.
func (m *Mode) Guessed() bool {
	return slices.ContainsFunc(m.Rounds, func(rd Round) bool { return !rd.QueueKnown })
}

// A Sweep is a run over several values of one parameter, whose rounds take
// turns.
type Sweep struct {
	Parameter string  `json:"parameter"` // the flag: "batch", "size", "handler" ...
	Numeric   bool    `json:"numeric"`   // all values are numbers
	Points    []Point `json:"points"`    // in the order of the command line
}

// A Point is one value of the swept parameter, and all that was measured with
// it: the same as a report without a sweep has.
type Point struct {
	Value      string     `json:"value"`            // as the flag takes it
	Number     float64    `json:"number,omitempty"` // if the sweep is numeric
	Parameters Parameters `json:"parameters"`
	Setup      Setup      `json:"setup"`
	Modes      []Mode     `json:"modes"`
}

// Title names a mode at a point.
func (pt *Point) Title(mode string) string {
	if pt.Value == "" {
		return pt.Parameters.Title(mode)
	}
	return pt.Value + ", " + pt.Parameters.Title(mode)
}

// Points are those of a sweep, or the only one of a run without.
func (rep *Report) Points() []Point {
	if rep.Sweep != nil {
		return rep.Sweep.Points
	}
	return []Point{{Parameters: rep.Parameters, Setup: rep.Setup, Modes: rep.Modes}}
}

// Title names a mode for people.
func (rep *Report) Title(mode string) string { return rep.Parameters.Title(mode) }

// Total is about how long the whole run takes.
func (rep *Report) Total() time.Duration {
	if rep.Sweep == nil {
		return rep.Parameters.Total()
	}
	var sum time.Duration
	for i := range rep.Sweep.Points {
		sum += rep.Sweep.Points[i].Parameters.Total()
	}
	return sum
}

// Finish makes the summaries.
func (rep *Report) Finish(interrupted bool) {
	rep.Interrupted = interrupted
	if rep.Sweep != nil {
		for i := range rep.Sweep.Points {
			pt := &rep.Sweep.Points[i]
			finish(&pt.Parameters, pt.Modes)
		}
	}
	finish(&rep.Parameters, rep.Modes)
}

// sumUp makes the summary of a mode.
func (p *Parameters) sumUp(m *Mode) {
	m.Summary = p.summarise(m)
	if t := m.Throughput; t != nil && len(t.Searches) > 0 {
		t.finish()
		m.Summary[ThroughputRate] = t.Rate
	}
}

// finish makes the summaries of modes that were measured with these parameters.
func finish(p *Parameters, modes []Mode) {
	setOfUnqueued(p, modes)
	for i := range modes {
		m := &modes[i]
		p.sumUp(m)
		m.Lost.Known = true
		all, quiet, n := make(Times), make(Times), 0
		for j := range m.Rounds {
			rd := &m.Rounds[j]
			m.Lost = m.Lost.plus(rd.Life.Lost)
			m.BatchSizes.add(rd.BatchSizes, 1)
			all.add(rd.Times)
			if len(rd.Noise) == 0 {
				quiet.add(rd.Times)
				n++
			}
		}
		if 2*n >= len(m.Rounds) {
			all = quiet
		}
		if m.Latency = all.Latency(); m.Latency != nil {
			m.Latency.Points = all.points()
		}
	}
}
