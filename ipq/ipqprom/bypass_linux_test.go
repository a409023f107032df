package ipqprom_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/bypass"
	"github.com/goipq/goipq/ipq/ipqprom"
	"github.com/goipq/goipq/ipq/ipqtest"
)

// What a bypass has counted is shown; what it cannot count is left out, and what it
// fails to read fails the scrape.
func TestBypass(t *testing.T) {
	t.Parallel()
	var failure error
	count := func() (ipqprom.BypassCounters, error) {
		return ipqprom.BypassCounters(bypass.Counters{
			AcceptedPackets: 1, AcceptedBytes: 2, DroppedPackets: 3, DroppedBytes: 4, Expired: 5, Spent: 6, Reopened: 7, Suspended: 8,
		}), failure
	}
	q := ipqtest.New(t, ipq.Config{Workers: ipq.Inline})
	r := registry(t, ipqprom.NewCollector(q.Queue, ipqprom.Bypass(count)))
	expect(t, values(t, r), map[string]float64{
		"ipq_bypass_packets_total{verdict=accept}":    1,
		"ipq_bypass_bytes_total{verdict=accept}":      2,
		"ipq_bypass_packets_total{verdict=drop}":      3,
		"ipq_bypass_bytes_total{verdict=drop}":        4,
		"ipq_bypass_requeued_total{reason=expired}":   5,
		"ipq_bypass_requeued_total{reason=spent}":     6,
		"ipq_bypass_requeued_total{reason=reopened}":  7,
		"ipq_bypass_requeued_total{reason=suspended}": 8,
	})
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	failure = bypass.ErrNoTable
	for name := range values(t, r) {
		if strings.HasPrefix(name, "ipq_bypass_packets") {
			t.Errorf("%s, with no table", name)
		}
	}
	failure = errors.New("on purpose")
	if _, err := r.Gather(); !errors.Is(err, failure) && !strings.Contains(err.Error(), failure.Error()) {
		t.Errorf("the scrape fails with %v", err)
	}
}
