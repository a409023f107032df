package ipq

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

// resident is what the process of TestKernelMemoryUnderOverload reports.
type resident struct {
	Idle, Peak, Buffers uint64 // bytes
	Stats               Stats
}

// Whatever becomes of packets that are too many, they take no more memory than
// the buffers that were configured.
func TestKernelMemoryUnderOverload(t *testing.T) {
	const size = 60_000 // fills most of a buffer
	base := Config{
		Queue: fakeNumber, Workers: 2, Batches: 12, BatchSize: 8, MaxLen: 32,
		ReadBuffer: 16 * (1<<17 + 384), // half the queue, so that both overflow
	}
	with := func(f func(*Config)) Config { c := base; f(&c); return c }
	configs := map[string]Config{
		"block":         base,
		"fail open":     with(func(c *Config) { c.FailOpen = true }),
		"accept excess": with(func(c *Config) { c.Overload = AcceptExcess }),
		"drop excess":   with(func(c *Config) { c.Overload = DropExcess }),
		"time-outs":     with(func(c *Config) { c.HandlerTimeout = time.Millisecond }),
		"deferred":      with(func(c *Config) { c.MaxDeferred, c.DeferTimeout = 24, time.Hour }),
		"inline":        with(func(c *Config) { c.Workers, c.Batches, c.BatchSize = Inline, 1, 16 }),
	}
	if role := os.Getenv(helperEnv); role != "" {
		if err := reportResident(t, configs[role]); err != nil {
			t.Fatal(err)
		}
		return
	}
	// In huge pages buffers are resident that nobody has used yet. Children
	// inherit it.
	if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0)
	for what := range configs {
		t.Run(what, func(t *testing.T) {
			ns := labtest.New(t)
			rules, err := ns.InstallQueue(
				netlab.Rule{Hook: netlab.Output, Match: netlab.Match{EchoRequest: true}, Queue: fakeNumber},
				netlab.Rule{Hook: netlab.Output, Match: netlab.Match{L4Proto: unix.IPPROTO_UDP}, Queue: fakeNumber},
			)
			if err != nil {
				t.Fatal(err)
			}
			c := startChild(t, ns, what)
			c.hear("ready")
			// What is done once, such as learning the program's code, is not
			// what overload takes.
			if s := runFlood(t, ns, flood.Config{Count: 500, Window: 16}); s.Replies != 500 {
				t.Errorf("flood: %+v", s)
			}
			c.say("idle")
			c.hear("idle")
			runFlood(t, ns, flood.Config{UDP: true, Size: size, Rate: 4000, Count: 4000})
			c.say("report")
			line, err := c.out.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			var r resident
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			c.end()
			count, err := rules.Counters()
			if err != nil {
				t.Fatal(err)
			}
			s := r.Stats
			unhandled := count[0].Packets + count[1].Packets - s.Received + s.ExcessAccepted + s.ExcessDropped + s.TimedOut + s.DeferRefused
			if unhandled < 100 {
				t.Errorf("no overload: %d of %d packets were not handled: %+v", unhandled, count[1].Packets, s)
			}
			most := (r.Idle + r.Buffers) * 11 / 10
			t.Logf("idle %d KiB, buffers %d KiB, peak %d KiB", r.Idle>>10, r.Buffers>>10, r.Peak>>10)
			if raceEnabled {
				return // whose own memory grows with every address touched
			}
			if r.Peak > most || r.Peak < r.Idle+r.Buffers/4 {
				t.Errorf("peak of %d KiB: want no more than a tenth above the %d KiB when idle and the %d KiB of buffers, and some of these",
					r.Peak>>10, r.Idle>>10, r.Buffers>>10)
			}
		})
	}
}

// reportResident is the process that is overloaded.
func reportResident(t *testing.T, cfg Config) error {
	cfg.NetNS = childNetNS
	slot := zerocopy.MaxOverhead + zerocopy.MaxCopyRange + 3
	waiting := make(chan *Deferred, max(1, cfg.MaxDeferred))
	go func() {
		for d := range waiting {
			time.Sleep(2 * time.Millisecond)
			if err := d.Verdict(Accept); err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
	}()
	q, stop := serve(t, cfg, HandlerFunc(func(p *Packet) Verdict {
		if p.Len() < 1000 {
			return Accept
		}
		if cfg.MaxDeferred > 0 {
			if d, err := p.Defer(); err == nil {
				waiting <- d
			}
			return Drop
		}
		time.Sleep(2 * time.Millisecond)
		return Accept
	}))
	r := resident{Buffers: uint64(((q.cfg.Batches+1)*q.cfg.BatchSize + cfg.MaxDeferred) * slot)}
	in := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	runtime.GC()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // VmHWM begins anew
	if _, err := fmt.Sscanf(status("VmRSS"), "%d", &r.Idle); err != nil {
		return err
	}
	fmt.Println("idle")
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	if _, err := fmt.Sscanf(status("VmHWM"), "%d", &r.Peak); err != nil {
		return err
	}
	r.Idle, r.Peak = r.Idle<<10, r.Peak<<10
	if err := stop(); err != nil {
		return err
	}
	r.Stats = q.Stats()
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(b))
	_, _ = in.ReadByte()
	return nil
}

// status returns a field of /proc/self/status.
func status(field string) string {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(b), "\n"+field+":")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}
