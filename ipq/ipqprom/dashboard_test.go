package ipqprom_test

import (
	_ "embed"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/metrics"
)

//go:embed dashboard.json
var dashboardJSON []byte

// Whatever the dashboard asks for, the collector has.
func TestDashboard(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	if err := json.Unmarshal(dashboardJSON, &dashboard); err != nil {
		t.Fatal(err)
	}
	labels := map[string][]string{}
	for _, f := range metrics.Families() {
		if f.Kind != metrics.Histogram {
			labels[f.Name] = f.Labels
			continue
		}
		for _, suffix := range []string{"_sum", "_count", "_bucket"} {
			labels[f.Name+suffix] = f.Labels
		}
	}
	for n, label := range map[string]string{"packets": "verdict", "bytes": "verdict", "requeued": "reason"} { // see Bypass
		labels["ipq_bypass_"+n+"_total"] = []string{label}
	}
	for n, label := range map[string][]string{ // see Stream
		"connections": {}, "memory_bytes": {}, "connections_opened_total": {}, "connections_evicted_total": {}, "inspected_bytes_total": {},
		"connections_closed_total": {"reason"}, "segments_total": {"kind"}, "drops_total": {"reason"},
	} {
		labels["ipq_stream_"+n] = label
	}
	name := regexp.MustCompile(`ipq_\w+`)
	asked, ids := map[string]bool{}, map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			found := name.FindAllString(target.Expr, -1)
			if len(found) == 0 {
				t.Errorf("%s: %s asks for nothing", p.Title, target.Expr)
			}
			for _, n := range found {
				asked[n] = true
				if labels[n] == nil {
					t.Errorf("%s asks for %s, which there is not", p.Title, n)
				}
				for _, label := range []string{"verdict", "reason", "action", "call", "kind"} {
					if strings.Contains(target.Expr, "by ("+label+")") && !slices.Contains(labels[n], label) {
						t.Errorf("%s: %s has no label %s", p.Title, n, label)
					}
				}
			}
			for _, v := range []string{"$job", "$instance", "$queue"} {
				if !strings.Contains(target.Expr, v) && (v != "$queue" || slices.Contains(labels[found[0]], "queue")) {
					t.Errorf("%s: %s leaves %s out", p.Title, target.Expr, v)
				}
			}
		}
	}
	if len(asked) < 25 {
		t.Errorf("the dashboard asks for %d metrics only", len(asked))
	}
	for _, v := range dashboard.Templating.List {
		q, _ := json.Marshal(v.Query)
		for _, n := range name.FindAllString(string(q), -1) {
			if labels[n] == nil {
				t.Errorf("the variable %s asks for %s", v.Name, n)
			}
		}
	}
}
