package doctor

import (
	"encoding/json"
	"fmt"

	"github.com/goipq/goipq/ipq"
)

// A feature is an ipq.Feature as one process tells another.
type feature struct {
	State          ipq.FeatureState
	Detail, Remedy string
}

// Survey returns what ipq.Probe finds here, for [Examine] in another process, which is in
// a network namespace of its own by then.
func Survey() (string, error) {
	s, err := ipq.Probe()
	if err != nil {
		return "", err
	}
	features := map[string]feature{}
	for name, f := range s.All() {
		features[name] = feature{f.State, f.Detail, f.Remedy}
	}
	text, err := json.Marshal(features)
	return string(text), err
}

// read returns what a survey has found.
func read(survey string) (features map[string]feature, err error) {
	if err = json.Unmarshal([]byte(survey), &features); err != nil {
		err = fmt.Errorf("read what was found in another process: %w", err)
	}
	return features, err
}

// describe says what was found about a feature.
func (f feature) describe(topic string) Finding {
	state, ok := map[ipq.FeatureState]string{ipq.Present: isFine, ipq.Missing: isMissing}[f.State]
	if !ok {
		state = isLimited
	}
	return Finding{topic: topic, state: state, text: f.Detail, change: f.Remedy}
}
