package ipq

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestMain(m *testing.M) {
	flood.Main()
	labtest.Main(m)
}

// echoRules queues the ICMP echo requests that leave ns.
func echoRules(t testing.TB, ns *netlab.NS, queue uint16, queues int) *netlab.Ruleset {
	t.Helper()
	rules, err := ns.InstallQueue(netlab.Rule{
		Hook:  netlab.Output,
		Match: netlab.Match{EchoRequest: true},
		Queue: queue, Queues: queues,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rules.Remove() })
	return rules
}

// serve opens a queue and runs it until stop is called, which returns Run's
// error.
func serve(t testing.TB, cfg Config, h Handler) (q *Queue, stop func() error) {
	t.Helper()
	q, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, h) }()
	var result error
	ended := false
	stop = func() error {
		if !ended {
			cancel()
			result, ended = <-done, true
		}
		return result
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := q.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return q, stop
}

// startFlood starts a flood in ns that is stopped when the test ends.
func startFlood(t testing.TB, ns *netlab.NS, cfg flood.Config) *flood.Flood {
	t.Helper()
	var f *flood.Flood
	if err := ns.Do(func() (err error) {
		f, err = flood.Start(t.Context(), cfg)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := f.Stop(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("flood: %v", err)
		}
	})
	return f
}

// fewer is how many of n packets a test sends: with -short, as in an emulator, a
// tenth.
func fewer(n uint64) uint64 {
	if testing.Short() {
		return n / 10
	}
	return n
}

// runFlood starts a flood in ns and waits for its end.
func runFlood(t testing.TB, ns *netlab.NS, cfg flood.Config) flood.Stats {
	t.Helper()
	cfg.Timeout = time.Minute // a slow machine loses nothing, either
	s, err := startFlood(t, ns, cfg).Wait()
	if err != nil {
		t.Fatal(err)
	}
	return s
}
