//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// table writes a line for each consumer: medians over the rounds, and ratios
// to the base taken within each round, since a machine's mood lasts longer
// than one. A consumer in a saturated run that is less than busy all the time
// had to share its CPU: its rate then says little.
func table(w io.Writer, names []string, base string, results []result) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "consumer\tpackets/s\tCPU ns/packet\tbusy\tdecided\trate / %s\tCPU / %s\n", base, base)
	for _, name := range names {
		var rates, cpus, busy, shares, rateRatios, cpuRatios []float64
		for _, r := range results {
			if r.Consumer != name {
				continue
			}
			rates = append(rates, r.Rate)
			cpus = append(cpus, r.CPUPerPacket)
			busy = append(busy, float64(r.CPUNanos)/float64(r.Nanos))
			shares = append(shares, float64(r.Total)/float64(r.Sent))
			for _, b := range results {
				if b.Consumer == base && b.Round == r.Round {
					rateRatios = append(rateRatios, r.Rate/b.Rate)
					cpuRatios = append(cpuRatios, r.CPUPerPacket/b.CPUPerPacket)
				}
			}
		}
		fmt.Fprintf(tw, "%s\t%.0f\t%.0f\t%.0f %%\t%.1f %%\t%s\t%s\n", name, median(rates), median(cpus), 100*median(busy), 100*median(shares),
			spread(rateRatios), spread(cpuRatios))
	}
	tw.Flush()
	for _, r := range results {
		if r.Disagreement != "" {
			fmt.Fprintf(w, "round %d, %s: %s\n", r.Round, r.Consumer, r.Disagreement)
		}
		if r.Said != "" {
			fmt.Fprintf(w, "round %d, %s says: %s\n", r.Round, r.Consumer, r.Said)
		}
	}
}

// spread is the median with the least and the greatest value.
func spread(values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", median(values), slices.Min(values), slices.Max(values))
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n == 0 {
		return 0
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}

// writeJSON writes every result of every round, with the settings.
func writeJSON(file string, settings map[string]string, results []result) error {
	b, err := json.MarshalIndent(struct {
		Settings map[string]string `json:"settings"`
		Results  []result          `json:"results"`
	}{settings, results}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
