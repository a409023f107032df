package ipq

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// waiting returns how many packets the kernel holds in the queue of that number.
func waiting(t *testing.T, ns *netlab.NS) uint64 {
	t.Helper()
	all, err := ns.QueueStats()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Queue == fakeNumber {
			return uint64(s.Waiting)
		}
	}
	t.Fatal("there is no queue")
	return 0
}

// killHolder has another process receive n packets from q's socket, and kills it
// with all of them undecided. The flood waits for the answers.
func killHolder(t *testing.T, ns *netlab.NS, q *Queue, n int, timeout time.Duration) *flood.Flood {
	t.Helper()
	file, err := q.File(0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := startChild(t, ns, strconv.Itoa(n), file)
	c.hear("ready")
	f := startFlood(t, ns, flood.Config{Count: uint64(n), Window: n, Flows: 1, Timeout: timeout})
	c.hear("holds them")
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err == nil {
		t.Fatal("the process was not killed")
	}
	return f
}

// holdUntilKilled is the process that is killed.
func holdUntilKilled(t *testing.T, n int) {
	q, err := FromFile(Config{Queue: fakeNumber, NetNS: childNetNS, Workers: Inline, MaxDeferred: n, DeferTimeout: time.Hour},
		os.NewFile(childFiles, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	held := 0
	fmt.Println("ready")
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte() // until the end
		q.Close()
	}()
	if err := q.Run(t.Context(), HandlerFunc(func(p *Packet) Verdict {
		if _, err := p.Defer(); err != nil {
			t.Error(err)
		}
		if held++; held == n {
			fmt.Println("holds them")
		}
		return Drop
	})); err != nil {
		t.Error(err)
	}
}

// What a killed process held is decided by nobody, until its successor is told
// that it may: then all of it, by policy, and counted.
func TestKernelInherit(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv(helperEnv)); err == nil {
		holdUntilKilled(t, n)
		return
	}
	t.Parallel()
	const held, more = 40, 200
	for _, x := range []struct {
		what                          string
		inherit, open, tables, unread bool
	}{
		{what: "not told", tables: true},
		{what: "told", inherit: true, tables: true},
		{what: "told, with packets in the socket", inherit: true, tables: true, unread: true},
		{what: "fail open", inherit: true, open: true, tables: true},
		{what: "without the tables", inherit: true},
		{what: "without the tables, with packets in the socket", inherit: true, unread: true},
	} {
		t.Run(x.what, func(t *testing.T) {
			eachMode(t, func(t *testing.T, workers int) {
				ns := labtest.New(t)
				if _, err := ns.QueueStats(); err != nil {
					t.Skip(err) // as an ordinary user
				}
				echoRules(t, ns, fakeNumber, 1)
				keeper, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline})
				if err != nil {
					t.Fatal(err)
				}
				defer keeper.Detach()
				timeout := 500 * time.Millisecond
				if x.open {
					timeout = time.Minute
				}
				lost := killHolder(t, ns, keeper, held, timeout)
				file, err := keeper.File(0)
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				var unread *flood.Flood
				if x.unread {
					unread = startFlood(t, ns, flood.Config{Count: more, Window: more, Flows: 1, Timeout: time.Minute})
					await(t, "the packets to be queued", func() bool { return waiting(t, ns) == held+more })
				}

				q, err := FromFile(Config{Queue: fakeNumber, Workers: workers, FailOpen: x.open}, file)
				if err != nil {
					t.Fatal(err)
				}
				defer q.Close()
				if !x.tables {
					q.loops[0].sock.SetTables(nil, nil)
				}
				if x.inherit {
					if err := q.Inherit(); err != nil {
						t.Fatal(err)
					}
				}
				cancel, done := startRun(q, accept)
				defer cancel()
				left := uint64(held)
				if x.inherit {
					left = 0
				}
				if x.inherit && x.tables {
					await(t, "the packets to be decided, before others come", func() bool { return waiting(t, ns) == 0 })
				}
				received := uint64(more)
				if unread != nil {
					received += more
					if s, err := unread.Wait(); err != nil || s.Replies != more {
						t.Errorf("packets that waited in the socket: %+v, %v", s, err)
					}
				}
				if s := runFlood(t, ns, flood.Config{Count: more, Window: 64, Flows: 1}); s.Replies != more {
					t.Errorf("packets that came afterwards: %+v", s)
				}
				await(t, "what is decided to be gone", func() bool { return waiting(t, ns) == left })
				s, err := lost.Wait()
				if want := map[bool]uint64{true: held}[x.open]; err != nil || s.Replies+s.Late != want {
					t.Errorf("the packets that were held: %d answered, want %d: %+v, %v", s.Replies+s.Late, want, s, err)
				}
				orphans := uint64(0)
				if x.inherit && x.tables {
					orphans = held
				}
				cancel()
				if err := endOf(t, done); err != nil {
					t.Errorf("Run: %v", err)
				}
				if s := q.Stats(); s.Orphans != orphans || s.Received != received || s.Verdicts != received || s.UnknownVerdicts != 0 {
					t.Errorf("stats: %+v", s)
				}
				if err := q.Inherit(); !errors.Is(err, ErrClosed) {
					t.Errorf("Inherit after the run: %v", err)
				}
			})
		})
	}
}

// Inherit leaves a queue alone that nobody else had, and comes before Run.
func TestKernelInheritOfNothing(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const count = 500
		ns := labtest.New(t)
		echoRules(t, ns, fakeNumber, 1)
		q, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		if err := q.Inherit(); err != nil {
			t.Fatal(err)
		}
		cancel, done := startRun(q, accept)
		if s := runFlood(t, ns, flood.Config{Count: count, Window: 64, Flows: 4}); s.Replies != count {
			t.Errorf("flood: %+v", s)
		}
		if err := q.Inherit(); !errors.Is(err, ErrRunning) {
			t.Errorf("Inherit while it runs: %v", err)
		}
		cancel()
		if err := endOf(t, done); err != nil {
			t.Errorf("Run: %v", err)
		}
		if s := q.Stats(); s.Orphans != 0 || s.Received != count || s.UnknownVerdicts != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A process that is told to inherit before anything comes ends when it is told
// to.
func TestInheritEnds(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		if err := q.Inherit(); err != nil {
			t.Fatal(err)
		}
		cancel, done := startRun(q, accept)
		await(t, "the queue to be configured", func() bool { return len(f.Configs()) == 2 })
		cancel()
		if err := endOf(t, done); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// While two processes have a socket, neither decides what the other has
// received: here one holds packets and then drops them, and the other accepts.
func TestKernelSharedSocket(t *testing.T) {
	t.Parallel()
	const held, more = 99, 200
	for _, oldHolds := range []bool{true, false} {
		t.Run(fmt.Sprintf("the old one holds packets: %v", oldHolds), func(t *testing.T) {
			eachMode(t, func(t *testing.T, workers int) {
				ns := labtest.New(t)
				echoRules(t, ns, fakeNumber, 1)
				accepts := Config{Queue: fakeNumber, Workers: workers}
				holds := Config{Queue: fakeNumber, Workers: Inline, DeferTimeout: time.Hour, MaxDeferred: held}
				first, second := &holds, &accepts
				if !oldHolds {
					first, second = second, first
				}
				first.NetNS = ns.FD()
				old, err := Open(*first)
				if err != nil {
					t.Fatal(err)
				}
				file, err := old.File(0)
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				next, err := FromFile(*second, file)
				if err != nil {
					t.Fatal(err)
				}
				holder, accepter := old, next
				if !oldHolds {
					holder, accepter = next, old
				}

				// The holder receives some packets, and then no more, because its
				// handler does not return.
				all := make(chan []*Deferred)
				release := make(chan struct{})
				var deferred []*Deferred
				_, holderDone := startRun(holder, HandlerFunc(func(p *Packet) Verdict {
					d, err := p.Defer()
					if err != nil {
						t.Error(err)
					}
					if deferred = append(deferred, d); len(deferred) == held {
						all <- deferred
						<-release
					}
					return Accept
				}))
				lost := startFlood(t, ns, flood.Config{Count: held, Window: held, Flows: 1, Timeout: time.Second})
				toDrop := <-all
				// The other finds many at once.
				passed := startFlood(t, ns, flood.Config{Count: more, Window: more, Flows: 1, Timeout: time.Minute})
				await(t, "all to be sent", func() bool { return passed.Stats().Sent == more })
				_, accepterDone := startRun(accepter, accept)
				if s, err := passed.Wait(); err != nil || s.Replies != more {
					t.Errorf("what was accepted: %+v, %v", s, err)
				}
				for _, d := range toDrop {
					if err := d.Verdict(Drop); err != nil {
						t.Error(err)
					}
				}
				close(release)
				if s, err := lost.Wait(); err != nil || s.Replies+s.Late != 0 {
					t.Errorf("%d of %d packets that were dropped were delivered: %+v, %v", s.Replies+s.Late, held, s, err)
				}
				if err := old.Detach(); err != nil {
					t.Error(err)
				}
				if err := next.Close(); err != nil {
					t.Error(err)
				}
				for _, done := range []<-chan error{holderDone, accepterDone} {
					if err := endOf(t, done); err != nil {
						t.Errorf("Run: %v", err)
					}
				}
				if s := holder.Stats(); s.Dropped != held || s.Verdicts != held || s.UnknownVerdicts != 0 {
					t.Errorf("the holder: %+v", s)
				}
				if s := accepter.Stats(); s.Accepted != more || s.Verdicts != more || s.UnknownVerdicts != 0 {
					t.Errorf("the other: %+v", s)
				}
			})
		})
	}
}
