package report

import (
	"fmt"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
)

// A Throughput is that of RFC 2544, section 26.1: the highest offered rate at
// which not one packet is lost, found by binary search.
type Throughput struct {
	// Rate is the spread of the searches' results in packets a second, as sent.
	Rate Spread `json:"rate_per_second"`
	// Resolution is how near the highest rate that lost nothing has come to the
	// lowest rate that lost packets, as a share of the latter.
	Resolution float64       `json:"resolution"`
	Trial      time.Duration `json:"trial_ns"` // of each trial
	// Trials is how many trials a rate gets. It passes when most of them lose nothing.
	Trials   int      `json:"trials"`
	Searches []Search `json:"searches"` // one for each round
}

// A Search is one binary search.
type Search struct {
	Round int     `json:"round"`           // counted from 1
	Rate  float64 `json:"rate_per_second"` // its result
	// Limit is what kept the search from going higher: "loss", or "sender" when no
	// more could be sent. Then the result is a lower bound.
	Limit  string   `json:"limit"`
	Noise  []string `json:"noise,omitempty"` // a sentence for each thing that disturbed it
	Trials []Trial  `json:"trials"`          // in the order in which they were made
}

// The limits of a search.
const (
	LimitLoss   = "loss"
	LimitSender = "sender"
)

// A Trial offers one rate for a time, then waits until all packets have come to
// their end, and counts.
type Trial struct {
	Target float64 `json:"target_per_second"` // 0: as many as possible
	// Offered is the rate at which packets were sent, by the senders' own
	// counts and clocks.
	Offered  float64 `json:"offered_per_second"`
	Sent     uint64  `json:"sent"`     // by the senders' own count
	Arrived  uint64  `json:"arrived"`  // by the kernel's count at the far end
	Verdicts uint64  `json:"verdicts"` // 0 without a queue
	Lost     Losses  `json:"lost"`     // by cause
	Passed   bool    `json:"passed"`   // nothing was lost, except by the handler
	// Lag is the longest time by which a packet was sent too late. Senders catch up
	// with what fills a quarter of the queue, and leave out the rest.
	Lag time.Duration `json:"lag_ns"`
	// Void says why the senders did not offer what they should have. Such a trial is
	// repeated, unless there were several of its rate.
	Void string `json:"void,omitempty"`
}

// finish sums up the searches, of which there is at least one.
func (t *Throughput) finish() {
	var rates []float64
	var noise [][]string
	for i := range t.Searches {
		rates = append(rates, t.Searches[i].Rate)
		noise = append(noise, t.Searches[i].Noise)
	}
	t.Rate = SpreadOf(rates)
	t.Rate.Noisy = noiseIn(t.Rate, 0, noise)
}

// Limited reports whether the senders could not offer more.
func (t *Throughput) Limited() bool {
	for i := range t.Searches {
		if t.Searches[i].Limit == LimitSender {
			return true
		}
	}
	return false
}

// Describe says what a search found.
func (s *Search) Describe() string {
	text := fmt.Sprintf("%s packets/s without loss, in %s", plain.Fixed(s.Rate, 0), plain.Plural(len(s.Trials), "trial"))
	if s.Limit == LimitSender {
		text += "; the senders offer no more"
	}
	return text
}

// Spoiled says that the senders spoiled so many trials that something else must
// keep their CPUs busy.
func (s *Search) Spoiled() []string {
	void := 0
	for i := range s.Trials {
		if s.Trials[i].Void != "" {
			void++
		}
	}
	if 4*void < len(s.Trials) || void == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the senders offered too little in %d of %s", void, plain.Plural(len(s.Trials), "trial"))}
}
