// Command tried measures again what was tried to make goipq faster, for
// docs/bench/limits.md. From the module's root, as root, with git:
//
//	go run ./docs/bench/tried -o docs/bench/tried.json
//
// It builds ipq-bench with each change and without, and has the two take turns,
// the one first and then the other, then the other way round. What it writes are
// the ratios of the turns: with the change to without.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A report is the file.
type report struct {
	Schema  int       `json:"schema"`
	Kind    string    `json:"kind"`
	Time    time.Time `json:"time"`
	Changes []effect  `json:"changes"`
}

// An effect is what a change does to a figure.
type effect struct {
	Change string  `json:"change"`
	Kept   bool    `json:"kept"`
	Flags  string  `json:"flags"`
	Figure string  `json:"figure"`
	Turns  int     `json:"turns"`
	Ratio  spread  `json:"ratio"` // with to without
	With   float64 `json:"with"`  // median
	Absent float64 `json:"without"`
}

// A spread is the median of the turns, and their quartiles.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

func main() {
	out := flag.String("o", "", "`file` to write")
	turns := flag.Int("turns", 20, "`number` of runs of each side")
	window := flag.Duration("duration", 400*time.Millisecond, "measured `time` of a run")
	only := flag.Int("only", 0, "`number` of the one change to measure, from 1 on; 0 means all")
	flag.Parse()
	if err := run(*out, *turns, *window, *only); err != nil {
		fmt.Fprintln(os.Stderr, "tried:", err)
		os.Exit(1)
	}
}

func run(out string, turns int, window time.Duration, only int) error {
	if out == "" || turns < 1 || only < 0 || only > len(changes) {
		return errors.New("want -o FILE, -turns over 0, and -only a change (-h tells more)")
	}
	dir, err := os.MkdirTemp("", "tried")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	here := filepath.Join(dir, "here")
	if err := build(".", here); err != nil {
		return err
	}
	rep := report{Schema: 1, Kind: "tried", Time: time.Now().UTC().Truncate(time.Second)}
	for i := range changes {
		if only > 0 && i != only-1 {
			continue
		}
		c := &changes[i]
		e, err := c.measure(here, dir, turns, window)
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		fmt.Printf("%.3f (%.3f to %.3f) %s: %s\n", e.Ratio.Median, e.Ratio.Low, e.Ratio.High, e.Figure, e.Change)
		rep.Changes = append(rep.Changes, e)
	}
	text, err := json.MarshalIndent(rep, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o666)
}

// build builds the ipq-bench of the tree.
func build(tree, binary string) error {
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/ipq-bench")
	cmd.Dir = tree
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, text)
	}
	return nil
}

// measure has the two sides take turns.
func (c *change) measure(here, dir string, turns int, window time.Duration) (effect, error) {
	there, flags := here, strings.Fields(c.run)
	if c.other.flags == "" {
		tree, err := c.other.tree(dir)
		if err != nil {
			return effect{}, err
		}
		there = filepath.Join(dir, "there")
		if err := build(tree, there); err != nil {
			return effect{}, err
		}
	}
	sides := []side{
		{binary: here, flags: flags},
		{binary: there, flags: slices.Concat(flags, strings.Fields(c.other.flags))},
	}
	for turn := range turns {
		for i := range sides {
			s := &sides[(turn+i)%2]
			v, err := s.figure(c.figure, window, dir)
			if err != nil {
				return effect{}, err
			}
			s.values = append(s.values, v)
		}
	}
	with, without := sides[0].values, sides[1].values
	if !c.kept {
		with, without = without, with
	}
	ratios := make([]float64, turns)
	for i := range ratios {
		ratios[i] = with[i] / without[i]
	}
	return effect{
		Change: c.what, Kept: c.kept, Flags: c.run, Figure: c.figure, Turns: turns,
		Ratio:  spread{quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75)},
		With:   quantile(with, 0.5),
		Absent: quantile(without, 0.5),
	}, nil
}

// A side is what takes a turn.
type side struct {
	binary string
	flags  []string
	values []float64
}

// figure runs ipq-bench once.
func (s *side) figure(name string, window time.Duration, dir string) (float64, error) {
	file := filepath.Join(dir, "run.json")
	cmd := exec.Command(s.binary, slices.Concat(s.flags, []string{"-rounds", "1", "-duration", window.String(), "-json", file})...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%v: %w: %s", cmd, err, text)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var doc struct {
		Modes []struct {
			Summary map[string]struct{ Median float64 }
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return 0, err
	}
	if len(doc.Modes) != 1 || doc.Modes[0].Summary[name].Median == 0 {
		return 0, fmt.Errorf("%v: no %s", cmd, name)
	}
	return doc.Modes[0].Summary[name].Median, nil
}

// quantile returns the value below which a share of all lies, by the nearest.
func quantile(all []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[int(share*float64(len(sorted)-1)+0.5)]
}
