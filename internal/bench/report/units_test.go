package report

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/peers"
)

// The end of a name is the unit of its figures. The round has 2,000 of everything
// in two seconds, decides 4,000 packets, each at 7 ns, and times all at 5 µs.
func TestNamesHoldTheirUnits(t *testing.T) {
	const n, each, took = 2000, 7 * time.Nanosecond, 5 * time.Microsecond
	rd := Round{
		Window: 2 * time.Second, OfUnqueued: 0.5, Mallocs: 2 * n,
		CPU: 2 * n * each, CPUUser: 2 * n * each, LoadCPU: n * each, Machine: MachineCPU{System: n * each, SoftIRQ: n * each},
		Latency: &Latency{Count: n, P50: took, P90: took, P99: took, P999: took, P9999: took, Max: took},
		Tally: Tally{
			Sent: n, Ruled: n, Bypassed: n, Arrived: n, Received: n, Batches: n, Verdicts: n, HandlerDropped: n, Writes: n,
			SocketDropped: n / 2, QueueKnown: true, Delivery: Delivery{Bytes: n, Connections: n, Failed: n},
		},
	}
	units := []struct {
		end  string
		want float64
	}{
		{"goodput_bits_per_second", 8000},
		{"all_cpu_ns_per_arrived", 21}, // 4,000 were decided and 2,000 sent
		{"lost_per_second", 500},
		{"_per_second", 1000},
		{"_ns_per_packet", 7},
		{"_percent", 50},
		{"_us", 5},
		{"_per_recvmmsg", 1},
		{"_per_write", 1},
		{"_per_packet", 1},
	}
	for _, x := range metrics {
		known := false
		for _, u := range units {
			if !strings.HasSuffix(x.Name, u.end) {
				continue
			}
			known = true
			m := Mode{Summary: map[string]Spread{x.Name: x.summed(SpreadOf([]float64{x.Of(&rd)}))}}
			if got := m.Summary[x.Name].Median; math.Abs(got-u.want) > 1e-9*u.want {
				t.Errorf("%s is %v, want %v", x.Name, got, u.want)
			}
			if told, ok := x.In(&m); !ok || math.Abs(told.Median-x.Of(&rd)) > 1e-9*u.want {
				t.Errorf("%s is told as %v, want %v", x.Name, told.Median, x.Of(&rd))
			}
			break
		}
		if !known {
			t.Errorf("%s ends in no unit that this test knows", x.Name)
		}
	}
}

// The reports that are kept beside BENCHMARKS.md have the units of this version:
// their summaries follow from their rounds.
func TestKeptReportsHoldTheirUnits(t *testing.T) {
	names, err := filepath.Glob("../../../docs/bench/*.json")
	if err != nil {
		t.Fatal(err)
	}
	figures := 0
	for _, name := range names {
		base := filepath.Base(name)
		if strings.HasPrefix(base, "profile-") || base == "tried.json" {
			continue // not ours
		}
		// Read would make the summaries anew.
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(`"kind": "`+peers.Kind)) {
			continue // its figures have no unit in their names
		}
		var rep Report
		if err := json.Unmarshal(text, &rep); err != nil {
			t.Errorf("%s: %v", base, err)
		}
		for _, pt := range rep.Points() {
			for i := range pt.Modes {
				m := &pt.Modes[i]
				for metric, want := range pt.Parameters.summarise(m) {
					got, ok := m.Summary[metric]
					if !ok {
						continue // it is newer than the report
					}
					figures++
					for _, pair := range [][2]float64{{got.Median, want.Median}, {got.Min, want.Min}, {got.Max, want.Max}} {
						if math.Abs(pair[0]-pair[1]) > 1e-9*math.Abs(pair[1]) {
							t.Errorf("%s: %s of %s is %v, but its rounds make it %v", base, metric, pt.Title(m.Name), pair[0], pair[1])
						}
					}
				}
			}
		}
	}
	if figures < 1000 {
		t.Errorf("%d figures were compared", figures)
	}
}

// What is a time in Go is nanoseconds in JSON, and its name says so.
func TestTimesAreNamedForTheirUnit(t *testing.T) {
	fields := 0
	seen := make(map[reflect.Type]bool)
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(of.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if seen[of] {
			return
		}
		seen[of] = true
		for i := range of.NumField() {
			f := of.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" || name == "" && !f.Anonymous {
				continue
			}
			if f.Type == reflect.TypeFor[time.Duration]() {
				fields++
				if name != "ns" && !strings.HasSuffix(name, "_ns") {
					t.Errorf("%s.%s is a time, and %s in JSON", of, f.Name, name)
				}
			}
			walk(f.Type)
		}
	}
	walk(reflect.TypeFor[Report]())
	walk(reflect.TypeFor[peers.Report]())
	if fields < 20 {
		t.Errorf("%d times were found", fields)
	}
}
