package peers

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Ratios are formed within each round, not between medians.
func TestSummarise(t *testing.T) {
	rounds := func(values ...float64) (rounds []Round) {
		for i, v := range values {
			rounds = append(rounds, Round{Round: i, Value: v, Packets: 10, CPU: 50, Sent: 100, Total: 40})
		}
		return rounds
	}
	c := Contest{Mode: Saturated, Bases: []string{"slow", "absent"}, Contestants: []Contestant{
		{Name: "slow", Rounds: rounds(10, 20, 30)},
		{Name: "fast", Rounds: rounds(40, 20, 90)},
		{Name: "none"},
	}}
	c.Contestants[1].Rounds[2].Total = 100
	c.Summarise()

	fast := c.Contestants[1]
	if got, want := fast.Ratios, (map[string]Spread{"slow": {Median: 3, Min: 1, Max: 4, Low: 1, High: 4}}); !reflect.DeepEqual(got, want) {
		t.Errorf("ratios are %v, want %v", got, want)
	}
	if got, want := *fast.Value, (Spread{Median: 40, Min: 20, Max: 90, Low: 20, High: 90}); got != want {
		t.Errorf("the value is %v, want %v", got, want)
	}
	if got, want := *fast.CPU, (Spread{Median: 5, Min: 5, Max: 5, Low: 5, High: 5}); got != want {
		t.Errorf("CPU a packet is %v, want %v", got, want)
	}
	if got, want := *fast.Decided, (Spread{Median: 40, Min: 40, Max: 100, Low: 40, High: 100}); got != want {
		t.Errorf("decided %v %%, want %v", got, want)
	}
	if fast.Rounds[2].Ratios["slow"] != 3 {
		t.Errorf("the ratio of round 2 is %v, want 3", fast.Rounds[2].Ratios["slow"])
	}
	if none := c.Contestants[2]; none.Value != nil || none.CPU != nil || len(none.Ratios) > 0 {
		t.Errorf("without a round there is a summary: %+v", none)
	}
}

// The median of many rounds is bounded by the values around it: of nine, the
// probability that it is below the second or above the eighth is 2 · 10/2^9, less
// than 5 %, but from the third to the seventh it would be 18 %.
func TestInterval(t *testing.T) {
	s := SpreadOf([]float64{9, 2, 4, 100, 5, 6, 3, 8, 7})
	if want := (Spread{Median: 6, Min: 2, Max: 100, Low: 3, High: 9}); *s != want {
		t.Errorf("got %+v, want %+v", *s, want)
	}
	if got := s.Percent(); got != 50 {
		t.Errorf("3 to 9 around 6 is ±%v %%, want 50", got)
	}
	if got, want := s.Scaled(0.5), (Spread{Median: 3, Min: 1, Max: 50, Low: 1.5, High: 4.5}); got != want {
		t.Errorf("half of it is %+v, want %+v", got, want)
	}
}

// One that decides nearly all of an overload was not overloaded.
func TestOutran(t *testing.T) {
	for _, test := range []struct {
		mode  string
		waits bool
		total uint64
		want  bool
	}{{Saturated, false, 94, false}, {Saturated, false, 96, true}, {Saturated, true, 100, false}, {Paced, false, 100, false}} {
		c := Contest{Mode: test.mode, Contestants: []Contestant{{Name: "a", FloodsWait: test.waits, Rounds: []Round{{Sent: 100, Total: test.total}}}}}
		c.Summarise()
		if got := c.Contestants[0].Outran; got != test.want {
			t.Errorf("%s, %d of 100 decided: outran is %v, want %v", test.mode, test.total, got, test.want)
		}
	}
}

func TestNoisy(t *testing.T) {
	c := Contest{Contestants: []Contestant{
		{Name: "steady", Rounds: []Round{{Value: 95}, {Value: 100}, {Value: 105}}},
		{Name: "torn", Rounds: []Round{{Value: 80}, {Value: 100}, {Value: 110}}},
		{Name: "absent"},
	}}
	c.Summarise()
	if got := c.Noisy(); !reflect.DeepEqual(got, []string{"torn"}) {
		t.Errorf("noisy are %v, want torn", got)
	}
	if got := c.Contestants[1].Value.Percent(); got != 15 {
		t.Errorf("80 to 110 around 100 is ±%v %%, want 15", got)
	}
}

func TestReportOutlivesItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	r := Report{
		Kind: Kind, Schema: Schema, Time: time.Unix(1, 0).UTC(), Versions: map[string]string{"goipq": "v1"},
		Contests: []Contest{{Mode: TCP, Unit: "bits/s", Contestants: []Contestant{
			{Name: "a", Rounds: []Round{{Value: 2, Window: time.Second, Kernel: &Kernel{Known: true}}}},
		}}},
		Missing: []Missing{{"b", "cc", "apt-get install gcc"}},
	}
	r.Contests[0].Summarise()
	if err := r.Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*got, r) {
		t.Errorf("read %+v, want %+v", *got, r)
	}
	if err := os.WriteFile(file, []byte(`{"schema": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("another report is read with the error %v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		args string
		want string // a part of the error, or ""
	}{
		{"", ""},
		{"-mode paced,tcp -rounds 3", ""},
		{"-mode fast", `no "fast"`},
		{"-rounds 0", "-rounds 0"},
		{"-duration 1h", "-duration"},
		{"-rate NaN", "-rate"},
		{"-share perhaps", "-share"},
		{"-size 20", "-size 20"},
		{"x", `"x"`},
	} {
		o, err := parse(strings.Fields(test.args)...)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q: the error is %v, want one with %q", test.args, err, test.want)
		}
		if test.args == "" && (len(o.Modes) != 1 || o.Rounds < 5) {
			t.Errorf("the defaults are %+v", o)
		}
	}
	if o, err := parse("-mode", "all"); err != nil || !reflect.DeepEqual(o.Modes, List(Modes)) {
		t.Errorf("all modes are %v (%v)", o.Modes, err)
	}
	if _, err := parse("-h"); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h is %v", err)
	}
}

func parse(args ...string) (o Options, err error) {
	fs := flag.NewFlagSet("peers", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o.Flags(fs)
	err = o.Parse(fs, args)
	return o, err
}
