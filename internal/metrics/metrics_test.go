package metrics

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goipq/goipq/ipq"
)

// A fixed source has the numbers that a test has put there.
type fixed struct {
	stats ipq.Stats
	times []ipq.QueueHistograms
	cfg   ipq.Config
}

func (f *fixed) Stats() ipq.Stats                  { return f.stats }
func (f *fixed) Histograms() []ipq.QueueHistograms { return f.times }
func (f *fixed) Config() ipq.Config                { return f.cfg }

// source returns one whose counts are all different, and those counts by their names.
func source(queues ...uint16) (*fixed, map[string]float64) {
	f := &fixed{cfg: ipq.Config{Workers: ipq.Inline, MaxQueueLen: 9}}
	counts := map[string]float64{}
	for _, q := range queues {
		c := ipq.Counts{KernelKnown: true}
		n := uint64(1000 * q)
		var fill func(v reflect.Value, name string)
		fill = func(v reflect.Value, name string) {
			n++
			switch v.Kind() {
			case reflect.Uint64:
				v.SetUint(n)
			case reflect.Int:
				v.SetInt(int64(n))
			case reflect.Struct:
				for i := range v.NumField() {
					fill(v.Field(i), name+"."+v.Type().Field(i).Name)
				}
				return
			default:
				return
			}
			counts[name[1:]] = float64(n)
		}
		fill(reflect.ValueOf(&c).Elem(), "")
		for i := range c.BatchSizes {
			c.BatchSizes[i] = uint64(i)
		}
		f.stats.Queues = append(f.stats.Queues, ipq.QueueStats{Queue: q, Counts: c})
	}
	return f, counts
}

// Each count of Stats is a sample, and no two of them the same one.
func TestEveryCountIsAMetric(t *testing.T) {
	elsewhere := []string{
		"Verdicts", "Batches", // sums of others
		"QueueDropped", "SocketDropped", // what became of those packets is in the causes
		"PassedBy.Handler", "PassedBy.QueueFull", // always 0
	}
	f, counts := source(3)
	samples := map[float64]string{}
	Each([]Source{f}, func(s *Sample) {
		name := s.Family.Name + " " + strings.Join(s.Labels, " ")
		if s.Family.Kind == Histogram || s.Value < 3000 {
			return // of others, or of the configuration
		}
		if samples[s.Value] != "" {
			t.Errorf("%s and %s are the same count", name, samples[s.Value])
		}
		samples[s.Value] = name
	})
	for name, n := range counts {
		if _, ok := samples[n]; ok == slices.Contains(elsewhere, name) {
			t.Errorf("Counts.%s: there is a metric: %v", name, ok)
		}
		delete(samples, n)
	}
	for _, name := range samples {
		t.Errorf("%s is no count", name)
	}
}

// Causes are named by their fields, in the same words.
func TestReasonsAreNamedLikeCauses(t *testing.T) {
	names := map[string]bool{}
	for _, c := range append(slices.Clone(causes), queueFull, socketFull) {
		names[strings.ReplaceAll(c.value, "_", "")] = true
	}
	all := reflect.TypeFor[ipq.Causes]()
	for i := range all.NumField() {
		if name := strings.ToLower(all.Field(i).Name); !names[name] {
			t.Errorf("there is no reason for Causes.%s", all.Field(i).Name)
		}
	}
	if len(names) != all.NumField() {
		t.Errorf("%d reasons, %d causes", len(names), all.NumField())
	}
}

// What the kernel dropped is a loss, or with a fail-open policy none.
func TestKernelDrops(t *testing.T) {
	f, counts := source(3)
	got := map[string]float64{}
	Each([]Source{f}, func(s *Sample) { got[s.Family.Name+" "+strings.Join(s.Labels, " ")] = s.Value })
	for name, count := range map[string]string{
		"ipq_kernel_dropped_total 3 queue_full":  "DroppedBy.QueueFull",
		"ipq_kernel_dropped_total 3 socket_full": "DroppedBy.SocketFull",
		"ipq_passed_total 3 socket_full":         "PassedBy.SocketFull",
		"ipq_drops_total 3 too_large":            "DroppedBy.TooLarge",
	} {
		if got[name] != counts[count] || counts[count] == 0 {
			t.Errorf("%s is %v, want %v", name, got[name], counts[count])
		}
	}
}

// What the kernel does not tell is left out.
func TestUnknownIsLeftOut(t *testing.T) {
	f, _ := source(3)
	f.stats.Queues[0].KernelKnown = false
	Each([]Source{f}, func(s *Sample) {
		if s.Family.Name == "ipq_queue_length" || s.Family.Name == "ipq_kernel_queued_total" {
			t.Errorf("%s is %v", s.Family.Name, s.Value)
		}
	})
}

// The samples of a family stand together, those of several sources too, which the text
// format demands.
func TestFamiliesStandTogether(t *testing.T) {
	a, _ := source(1, 2)
	b, _ := source(7)
	a.times = make([]ipq.QueueHistograms, 2)
	a.times[1].HandlerTime.Buckets[3], a.times[1].HandlerTime.Sum = 5, 8000
	var text bytes.Buffer
	if err := WriteText(&text, []Source{a, b}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"# HELP ipq_batch_packets Packets that a receive call brought.\n# TYPE ipq_batch_packets histogram\n" +
			`ipq_batch_packets_bucket{queue="1",le="1"} 0` + "\n" + `ipq_batch_packets_bucket{queue="1",le="2"} 1` + "\n" + `ipq_batch_packets_bucket{queue="1",le="4"} 3` + "\n",
		`ipq_batch_packets_bucket{queue="7",le="512"} 45` + "\n" + `ipq_batch_packets_bucket{queue="7",le="+Inf"} 55` + "\n",
		`ipq_handler_duration_seconds_bucket{queue="2",le="1.024e-06"} 0` + "\n" + `ipq_handler_duration_seconds_bucket{queue="2",le="2.048e-06"} 5` + "\n",
		`ipq_handler_duration_seconds_sum{queue="2"} 8e-06` + "\n" + `ipq_handler_duration_seconds_count{queue="2"} 5` + "\n",
		`ipq_info{mode="inline",queue="7",version="` + version + `"} 1` + "\n",
		`ipq_queue_length_limit{queue="1"} 9` + "\n" + `ipq_queue_length_limit{queue="2"} 9` + "\n" + `ipq_queue_length_limit{queue="7"} 9` + "\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no\n%sin\n%s", want, text.String())
		}
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "# TYPE") {
			if seen[line] {
				t.Errorf("twice: %s", line)
			}
			seen[line] = true
		}
	}
}

func TestLabelsAreEscaped(t *testing.T) {
	if got := labelPairs([]string{"b", "a"}, []string{"y", "x\\\"\n"}); got != `a="x\\\"\n",b="y"` {
		t.Error(got)
	}
}

// The documents name metrics that there are.
func TestDocumentsNameMetrics(t *testing.T) {
	there := map[string]bool{}
	for _, f := range Families() {
		there[f.Name] = true
		if f.Kind == Histogram {
			there[f.Name+"_bucket"] = true
		}
	}
	name := regexp.MustCompile(`\bipq_\w+`)
	for _, document := range []string{"../../docs/operate.md", "../../ipq/ipqprom/doc.go"} {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		named := name.FindAllString(string(text), -1)
		if len(named) < 10 {
			t.Errorf("%s names %d metrics", document, len(named))
		}
		for _, n := range named {
			if !there[n] {
				t.Errorf("%s names %s, which there is not", document, n)
			}
		}
	}
}
