package report

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/goipq/goipq/internal/peers"
)

// A Document is a file that ipq-bench or bench/peers has written: one of the
// two reports.
type Document struct {
	Path  string
	Run   *Report
	Peers *peers.Report
}

// Read reads a file of either kind. Its errors are a sentence.
func Read(path string) (Document, error) {
	d := Document{Path: path}
	text, err := os.ReadFile(path)
	if err != nil {
		return d, err
	}
	var head struct {
		Schema int    `json:"schema"`
		Kind   string `json:"kind"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return d, fmt.Errorf("%s is not a report of ipq-bench: %w", path, err)
	}
	switch {
	case head.Kind == peers.Kind:
		d.Peers, err = peers.Read(path)
		return d, err
	case head.Schema == 0:
		return d, fmt.Errorf("%s is not a report of ipq-bench: it has no schema", path)
	case head.Schema != schema:
		return d, fmt.Errorf("%s has schema %d, and this ipq-bench reads %d: use the one that wrote it, or measure again",
			path, head.Schema, schema)
	}
	d.Run = new(Report)
	if err := json.Unmarshal(text, d.Run); err != nil {
		return d, fmt.Errorf("%s is not a report of ipq-bench: %w", path, err)
	}
	points := d.Run.Points()
	for i := range points {
		for j := range points[i].Modes {
			points[i].Parameters.sumUp(&points[i].Modes[j]) // an older version told less of the rounds
		}
	}
	return d, nil
}
