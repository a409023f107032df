package peers

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

const (
	// Kind tells a Report from other JSON files.
	Kind = "goipq peers"
	// Schema is the version of the Report's format. It changes when a field
	// changes its meaning or goes; fields may be added.
	Schema = 1
)

// A Report is all that one run of bench/peers has measured. Times in fields
// ending in _ns are nanoseconds.
type Report struct {
	Kind        string    `json:"kind"`   // "goipq peers"
	Schema      int       `json:"schema"` // version of the format
	Time        time.Time `json:"time"`   // when the run began
	Interrupted bool      `json:"interrupted"`
	Machine     Machine   `json:"machine"`
	// Versions of what was compared and of what it was built with: goipq,
	// go-nfqueue, libnetfilter_queue, cc. What is not installed is left out.
	Versions map[string]string `json:"versions"`
	Options  Options           `json:"options"`
	Contests []Contest         `json:"contests"`
	Missing  []Missing         `json:"missing,omitempty"`
}

// A Machine is what the run was made on.
type Machine struct {
	Kernel string `json:"kernel"` // uname -r
	Arch   string `json:"arch"`   // GOARCH
	CPU    string `json:"cpu"`    // model name, "" where the kernel has none
	CPUs   int    `json:"cpus"`   // that the process may use
	Go     string `json:"go"`
	Root   bool   `json:"root"` // with root's rights over the machine, which raise socket buffers
	// SystemCall is the CPU time of one that does nothing (getppid(2)), in
	// nanoseconds: it tells much of how contestants compare.
	SystemCall float64 `json:"system_call_ns"`
}

// Missing is a contestant that could not take part.
type Missing struct {
	Contestant string `json:"contestant"`
	What       string `json:"what"` // is not installed
	Get        string `json:"get"`  // how to get it
}

// A Contest is one load that several contestants carried, one at a time, in
// rounds.
type Contest struct {
	Mode  string `json:"mode"`  // one of Modes
	Title string `json:"title"` // what is compared, in a few words
	Load  string `json:"load"`  // what was sent, and where it was queued
	// Unit is that of every Value: "packets/s", "bits/s" or "CPU ns/packet".
	Unit string `json:"unit"`
	// LessIsBetter is set for costs.
	LessIsBetter bool `json:"less_is_better"`
	// Bases are the names of the contestants that ratios refer to.
	Bases       []string     `json:"bases"`
	FloodCPUs   []int        `json:"flood_cpus"`
	QueueCPUs   []int        `json:"consumer_cpus"` // of contestants with one queue
	Shared      bool         `json:"shared"`        // a busy program took half of the last of QueueCPUs
	Contestants []Contestant `json:"contestants"`
}

// A Contestant is one program in a contest.
type Contestant struct {
	Name     string `json:"name"`
	Title    string `json:"title"`    // for people
	Settings string `json:"settings"` // how it was tuned
	// Summary of the rounds. A quantity that was not measured is left out.
	Value   *Spread           `json:"value,omitempty"`             // in the contest's unit
	Ratios  map[string]Spread `json:"ratios,omitempty"`            // Value over that of each base in the same round
	CPU     *Spread           `json:"cpu_ns_per_packet,omitempty"` // of its process, user and system
	Decided *Spread           `json:"decided_percent,omitempty"`   // of the packets that were sent
	// FloodsWait is set when the floods share its CPUs: then they wait while it
	// has packets to decide, and none is lost.
	FloodsWait bool `json:"floods_wait"`
	// Outran is set when it decided nearly all of a load that should have
	// been more than it can carry: its Value is then the load's.
	Outran bool    `json:"outran"`
	Rounds []Round `json:"rounds"`
}

// A Round is one measurement of a contestant.
type Round struct {
	Round int `json:"round"` // from 0
	// Value is in the contest's unit, Ratios relate it to that of each base in
	// this round.
	Value  float64            `json:"value"`
	Ratios map[string]float64 `json:"ratios,omitempty"`

	Window  time.Duration `json:"window_ns"`       // the measured time
	Packets uint64        `json:"packets"`         // decided or, by a generator, sent in it
	CPU     time.Duration `json:"cpu_ns"`          // of the contestant's process in it
	Bytes   uint64        `json:"bytes,omitempty"` // of TCP's payload that the server read in it

	Sent    uint64  `json:"sent,omitempty"`    // by the floods, warm-up included
	Refused uint64  `json:"refused,omitempty"` // to the floods by their own sockets
	Total   uint64  `json:"total,omitempty"`   // decided from start to end
	Kernel  *Kernel `json:"kernel,omitempty"`

	// Disagreement says how the kernel's count differs from the contestant's
	// or the floods'; empty when all agree.
	Disagreement string `json:"disagreement,omitempty"`
	Said         string `json:"said,omitempty"` // by the contestant, of its troubles
}

// Kernel is the kernel's own account of a round.
type Kernel struct {
	Matched uint64 `json:"matched"` // packets that met the queue rule
	// Known is false for an ordinary user, who may not read the rest.
	Known       bool   `json:"known"`
	Waiting     uint64 `json:"waiting"`      // still, some time after the flood
	Delivered   uint64 `json:"delivered"`    // to the contestant's socket
	Dropped     uint64 `json:"dropped"`      // the queue was full
	UserDropped uint64 `json:"user_dropped"` // the socket was full
}

// A Spread is one quantity over the rounds.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	// Low and High bound the median with a confidence of 95 %: they are the
	// second value and the last but one of nine rounds, say. Fewer than six rounds
	// bound it by the least and the most only. Unlike those, they come nearer to
	// each other with more rounds.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Percent is how well the median is known: half of what lies between Low and
// High, in percent of it.
func (s Spread) Percent() float64 {
	if s.Median == 0 {
		return 0
	}
	return 50 * (s.High - s.Low) / s.Median
}

// Scaled returns the spread in another unit.
func (s Spread) Scaled(by float64) Spread {
	return Spread{s.Median * by, s.Min * by, s.Max * by, s.Low * by, s.High * by}
}

// Write writes the report to a file.
func (r *Report) Write(file string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o666)
}

// Read reads a report that Write has written.
func Read(file string) (*Report, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if r.Kind != Kind || r.Schema != Schema {
		return nil, fmt.Errorf("%s: kind %q with schema %d, not %q with schema %d", file, r.Kind, r.Schema, Kind, Schema)
	}
	for i := range r.Contests {
		r.Contests[i].Summarise() // an older version told less of the rounds
	}
	return r, nil
}
