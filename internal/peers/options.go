package peers

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The contests that -mode chooses from.
const (
	Saturated    = "saturated"
	Paced        = "paced"
	TCP          = "tcp"
	TCPShared    = "tcp-shared"
	Generator    = "generator"
	GeneratorUDP = "generator-udp"
)

// Modes are all contests, in the order in which they are run.
var Modes = []string{Saturated, Paced, TCP, TCPShared, Generator, GeneratorUDP}

// Options are the flags of a comparison.
type Options struct {
	Modes       List          `json:"modes"`
	Only        List          `json:"only,omitempty"` // contestants; empty: all
	Rounds      int           `json:"rounds"`
	Duration    time.Duration `json:"duration_ns"` // measured time of one contestant in one round
	WarmUp      time.Duration `json:"warm_up_ns"`  // before it
	Rate        float64       `json:"rate"`        // packets a second of Paced
	MaxQueueLen int           `json:"maxlen"`      // packets the kernel may hold in a queue
	Size        int           `json:"size"`        // bytes of a packet, from the IP header on
	Streams     int           `json:"streams"`     // connections of TCP and TCPShared
	Replies     bool          `json:"replies"`     // the kernel answers what was accepted
	Share       string        `json:"share"`       // "auto", "yes" or "no"
	JSON        string        `json:"-"`           // file for the report
}

// List is a flag of names with commas between them.
type List []string

// String implements flag.Value.
func (l *List) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *List) Set(text string) error {
	*l = strings.Split(text, ",")
	return nil
}

// Flags adds the flags to a set, and sets their defaults.
func (o *Options) Flags(fs *flag.FlagSet) {
	o.Modes = List{Saturated}
	fs.Var(&o.Modes, "mode", "`list` of what to compare: "+strings.Join(Modes, ", ")+", or all")
	fs.Var(&o.Only, "only", "`list` of contestants; without, all that are installed")
	fs.IntVar(&o.Rounds, "rounds", 5, "`times` each contestant is measured")
	fs.DurationVar(&o.Duration, "duration", time.Second, "measured `time` of one contestant in one round")
	fs.DurationVar(&o.WarmUp, "warm-up", 300*time.Millisecond, "`time` under load before it")
	fs.Float64Var(&o.Rate, "rate", 150_000, "`packets` a second of paced")
	fs.IntVar(&o.MaxQueueLen, "maxlen", 1024, "`packets` the kernel may hold in a queue")
	fs.IntVar(&o.Size, "size", 64, "`bytes` of each packet")
	fs.IntVar(&o.Streams, "streams", 8, "`connections` of tcp and tcp-shared")
	fs.BoolVar(&o.Replies, "replies", false, "let the kernel answer the echo requests, in the contestant's time")
	fs.StringVar(&o.Share, "share", "auto", "yes, no or auto: a busy program shares the contestant's CPU when saturated, so that\none flood suffices; auto means where there are only two CPUs")
	fs.StringVar(&o.JSON, "json", "", "`file` to write every single result to")
}

// Parse reads a command line without the program's name. fs has the flags.
func (o *Options) Parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.Modes.String() == "all" {
		o.Modes = Modes
	}
	for _, mode := range o.Modes {
		if !slices.Contains(Modes, mode) {
			return fmt.Errorf("-mode: there is no %q, only %s and all", mode, strings.Join(Modes, ", "))
		}
	}
	switch {
	case o.Rounds < 1 || o.Rounds > 1000:
		return fmt.Errorf("-rounds %d is not between 1 and 1000", o.Rounds)
	case o.MaxQueueLen < 1 || o.MaxQueueLen > 65536:
		return fmt.Errorf("-maxlen %d is not between 1 and 65536", o.MaxQueueLen)
	case o.Size < 36 || o.Size > 65535:
		return fmt.Errorf("-size %d is not between 36 and 65535", o.Size)
	case o.Streams < 1 || o.Streams > 65536:
		return fmt.Errorf("-streams %d is not between 1 and 65536", o.Streams)
	case o.Duration < 10*time.Millisecond || o.Duration > time.Minute:
		return fmt.Errorf("-duration %v is not between 10ms and 1m", o.Duration)
	case o.WarmUp < 0 || o.WarmUp > time.Minute:
		return fmt.Errorf("-warm-up %v is not between 0 and 1m", o.WarmUp)
	case !(o.Rate >= 1 && o.Rate <= 1e9): // NaN, too
		return fmt.Errorf("-rate %v is not between 1 and 1e9 packets a second", o.Rate)
	case !slices.Contains([]string{"auto", "yes", "no"}, o.Share):
		return errors.New("-share is yes, no or auto")
	}
	return nil
}
