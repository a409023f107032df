package ipq

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/race"
	"github.com/goipq/goipq/internal/zerocopy"
)

// While all batches are in flight, what comes is decided by the policy, without
// the handler; those in flight are handled as ever.
func TestExcessIsDecidedWithoutTheHandler(t *testing.T) {
	for _, policy := range []Overload{AcceptExcess, DropExcess} {
		const batches, excess = 3, 50
		f := newFake(t)
		release := make(chan struct{})
		unblock := sync.OnceFunc(func() { close(release) })
		q, stop := f.serve(Config{Workers: 2, Batches: batches, BatchSize: 1, Overload: policy}, func(p *Packet) Verdict {
			<-release
			return Repeat
		})
		t.Cleanup(unblock)
		for i := range batches {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			await(t, "the packet to be taken", func() bool { return q.Stats().Received == uint64(i+1) })
		}
		others := otherFlows(1, excess/2)
		for i := range excess {
			port := uint16(1) // of the flow that waits, and of others
			if i%2 == 1 {
				port = others[i/2]
			}
			want := uint32(0)
			if policy == AcceptExcess {
				want = 1
			}
			if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(port, nil)})); v.Verdict != want || v.Batch {
				t.Errorf("%v: %+v", policy, v)
			}
		}
		unblock()
		stop()
		for id := range uint32(batches) {
			if v := f.verdict(id + 1); v.Verdict != 4 {
				t.Errorf("%v: packet %d was not handled: %+v", policy, id+1, v)
			}
		}
		f.check()
		s := q.Stats()
		accepted, dropped, overtook := uint64(excess), uint64(0), uint64(excess/2)
		if policy == DropExcess {
			accepted, dropped, overtook = 0, excess, 0
		}
		if s.ExcessAccepted != accepted || s.ExcessDropped != dropped || s.Overtook != overtook || s.Waits != 0 || s.Verdicts != batches+excess {
			t.Errorf("%v: stats %+v", policy, s)
		}
	}
}

// A flood of a queue that is full passes nothing, unless FailOpen is asked for:
// then everything passes.
func TestKernelFailOpenIsWhatWasAskedFor(t *testing.T) {
	const sent, room = 100, 10
	for _, x := range []struct {
		what string
		cfg  Config
	}{
		{"full queue", Config{MaxQueueLen: room}},
		{"full queue, with other flags", Config{MaxQueueLen: room, GSO: true}},
		{"full socket", Config{ReadBuffer: room * 832}},
	} {
		for _, open := range []bool{false, true} {
			ns := labtest.New(t)
			arrived, err := ns.InstallCounter(netlab.Input, 0, netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: udpPort})
			if err != nil {
				t.Fatal(err)
			}
			x.cfg.FailOpen = open
			q := sendUnserved(t, ns, x.cfg, sent, "text")
			// The kernel delivers what has passed when it gets to it.
			came := func(when string, want uint64) {
				var got uint64
				await(t, when, func() bool {
					c, err := arrived.Counters()
					if err != nil {
						t.Fatal(err)
					}
					got = c[0].Packets
					return got >= want
				})
				if got != want {
					t.Errorf("%s, fail open %v: %d arrived %s, want %d", x.what, open, got, when, want)
				}
			}
			queued := q.Stats().Waiting
			if queued == 0 || queued > sent/2 {
				t.Errorf("%s, fail open %v: %d were queued", x.what, open, queued)
			}
			past := uint64(0)
			if open {
				past = sent - queued
			}
			came("past the queue", past)
			drain(t, q)
			if s := q.Stats(); s.Received != queued {
				t.Errorf("%s, fail open %v: %d received, %d were queued", x.what, open, s.Received, queued)
			}
			came("in all", past+queued)
		}
	}
}

// resident is what the process of TestKernelMemoryUnderOverload reports.
type resident struct {
	Memory    uint64 // bytes that are resident, other than of files
	Allocated uint64 // bytes on the heap so far, other than for reports
	Buffers   uint64 // bytes that were configured
	Held      uint64 // packets that wait for their verdict in them, or for a handler
	Stats     Stats
}

// Whatever becomes of packets that are too many, they take no more memory than
// the buffers that were configured. The handlers hold what they get until the
// kernel, the engine, or both have turned away many times what the buffers
// hold: then memory is looked at, and again when everything moves.
func TestKernelMemoryUnderOverload(t *testing.T) {
	const (
		size   = 60_000 // fills most of a buffer
		enough = 500    // packets: more than four times what the buffers hold
		slack  = 2 << 20
	)
	base := Config{
		Queue: fakeNumber, Workers: 2, Batches: 96, BatchSize: 1,
		MaxQueueLen: 96 + 32,            // what is held counts, too
		ReadBuffer:  16 * (1<<17 + 384), // so that both overflow
	}
	with := func(f func(*Config)) Config { c := base; f(&c); return c }
	// What the kernel did not queue, of those that came to the rules.
	unqueued := func(came uint64, s Stats) uint64 { return came - s.Received }
	overloads := map[string]struct {
		cfg    Config
		held   uint64                            // packets that are held when no more can be
		turned func(came uint64, s Stats) uint64 // how many were turned away
	}{
		"block":         {base, 96, unqueued},
		"fail open":     {with(func(c *Config) { c.FailOpen = true }), 96, unqueued},
		"accept excess": {with(func(c *Config) { c.Overload = AcceptExcess }), 96, func(_ uint64, s Stats) uint64 { return s.ExcessAccepted }},
		"drop excess":   {with(func(c *Config) { c.Overload = DropExcess }), 96, func(_ uint64, s Stats) uint64 { return s.ExcessDropped }},
		// The others of a flow, and all when as many as can be are stuck, are decided.
		// Accepted, because on a slow machine any call may take longer than that.
		"time-outs": {with(func(c *Config) { c.HandlerTimeout, c.OnTimeout = time.Millisecond, Always(Accept) }), 1,
			func(_ uint64, s Stats) uint64 { return s.TimedOut }},
		"deferred": {with(func(c *Config) { c.MaxDeferred, c.DeferTimeout = 24, time.Hour }), 24,
			func(_ uint64, s Stats) uint64 { return s.DeferRefused }},
		"inline": {with(func(c *Config) { c.Workers, c.Batches, c.BatchSize = Inline, 1, 16 }), 1, unqueued},
	}
	if role := os.Getenv(helperEnv); role != "" {
		if err := reportResident(t, overloads[role].cfg); err != nil {
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
	for what, x := range overloads {
		t.Run(what, func(t *testing.T) {
			ns := labtest.New(t)
			// Where packets have left the account of their sender's socket, which
			// an ordinary user cannot make large.
			rules, err := ns.InstallQueue(
				netlab.Rule{Hook: netlab.Input, Match: netlab.Match{EchoRequest: true}, Queue: fakeNumber},
				netlab.Rule{Hook: netlab.Input, Match: netlab.Match{L4Proto: unix.IPPROTO_UDP}, Queue: fakeNumber},
			)
			if err != nil {
				t.Fatal(err)
			}
			c := startChild(t, ns, what)
			c.hear("ready")
			look := func() (r resident, turned uint64) {
				t.Helper()
				c.say("look")
				line, err := c.out.ReadString('\n')
				if err != nil {
					t.Fatalf("%q, %v", line, err)
				}
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				count, err := rules.Counters()
				if err != nil {
					t.Fatal(err)
				}
				return r, x.turned(count[0].Packets+count[1].Packets, r.Stats)
			}
			// What is done once, such as learning the program's code, is not
			// what overload takes.
			if s := runFlood(t, ns, flood.Config{Count: 500, Window: 16}); s.Replies != 500 {
				t.Errorf("flood: %+v", s)
			}
			idle, _ := look()
			check := func(when string, r resident) {
				t.Helper()
				grown := int64(r.Memory) - int64(idle.Memory)
				t.Logf("%s: %d packets held, %d KiB grown, %d KiB of buffers, %d KiB allocated",
					when, r.Held, grown>>10, r.Buffers>>10, (r.Allocated-idle.Allocated)>>10)
				// A deferred packet is copied to the heap.
				if most := uint64(x.cfg.MaxDeferred*maxSlot + slack); r.Allocated-idle.Allocated > most {
					t.Errorf("%s: %d bytes allocated, want at most %d", when, r.Allocated-idle.Allocated, most)
				}
				if race.Enabled {
					return // whose own memory grows with every address touched
				}
				// Idle, of each buffer no more than its ends have been used.
				least := int64(r.Held) * (size - 2*4096)
				if grown > int64(r.Buffers)+slack || grown < least {
					t.Errorf("%s: %d bytes more than idle: want no more than the %d of buffers and %d, and no less than the %d of the packets held",
						when, grown, r.Buffers, slack, least)
				}
			}
			c.say("shut")
			c.hear("shut")
			flooded := func(is func(r resident, turned uint64) bool) (r resident) {
				t.Helper()
				for end := time.Now().Add(2 * time.Minute); ; { // only reached by a failure
					runFlood(t, ns, flood.Config{UDP: true, Size: size, Count: enough / 2})
					r, turned := look()
					if is(r, turned) {
						return r
					}
					if time.Now().After(end) {
						t.Fatalf("no overload: %d were turned away: %+v", turned, r)
					}
				}
			}
			full := flooded(func(r resident, turned uint64) bool { return r.Held >= x.held && turned >= enough })
			check("full", full)
			c.say("open")
			c.hear("open")
			check("moving", flooded(func(r resident, _ uint64) bool { return r.Stats.Received >= full.Stats.Received+enough }))
			c.end()
		})
	}
}

// maxSlot is what a packet takes of the buffers.
const maxSlot = zerocopy.MaxOverhead + zerocopy.MaxCopyRange + 3

// reportResident is the process that is overloaded. It does what it is told.
func reportResident(t *testing.T, cfg Config) error {
	cfg.NetNS = childNetNS
	var shut sync.RWMutex
	deferred := make(chan *Deferred, max(1, cfg.MaxDeferred))
	var running atomic.Int64
	q, stop := serve(t, cfg, HandlerFunc(func(p *Packet) Verdict {
		if cfg.MaxDeferred > 0 && p.Len() > 1000 {
			if d, err := p.Defer(); err == nil {
				deferred <- d
			}
			return Drop
		}
		running.Add(1)
		defer running.Add(-1)
		shut.RLock()
		defer shut.RUnlock()
		return Accept
	}))
	var decider sync.WaitGroup
	decider.Go(func() {
		for d := range deferred {
			shut.RLock()
			err := d.Verdict(Accept)
			shut.RUnlock()
			if err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
	})
	fmt.Println("ready")
	var reports uint64 // bytes on the heap
	allocated := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "shut":
			shut.Lock()
			fmt.Println("shut")
		case "open":
			shut.Unlock()
			fmt.Println("open")
		case "look":
			r := resident{Allocated: allocated() - reports, Stats: q.Stats()}
			r.Buffers = uint64(((q.cfg.Batches+1)*q.cfg.BatchSize + cfg.MaxDeferred) * maxSlot)
			// Inline, a batch counts when it has been handled.
			r.Held = max(r.Stats.Received-r.Stats.Verdicts, uint64(running.Load()))
			var err error
			if r.Memory, err = anonymous(); err != nil {
				return err
			}
			b, err := json.Marshal(r)
			if err != nil {
				return err
			}
			fmt.Println(string(b))
			reports = allocated() - r.Allocated
		}
	}
	err := stop()
	close(deferred)
	decider.Wait()
	return err
}

// anonymous returns how many bytes this process has resident that are of no
// file, exactly: the numbers in /proc/self/status are not, for the kernel counts
// them on each CPU, or each thread, apart.
func anonymous() (uint64, error) {
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "\nAnonymous:")
	var kib uint64
	if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
		return 0, fmt.Errorf("%q: %w", b, err)
	}
	return kib << 10, nil
}
