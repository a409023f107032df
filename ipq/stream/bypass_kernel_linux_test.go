package stream

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/bypass"
)

// A bypassed is a network whose router has an Engine and a bypass.
type bypassed struct {
	net   *labtest.Network
	rules *bypass.Ruleset
	queue *ipq.Queue
	e     *Engine
}

// eachBypass runs a test with a bypass in the kernel, by eBPF where this user may, and
// with an Engine whose Inspectors say the same of everything.
func eachBypass(t *testing.T, says Decision, f func(t *testing.T, n *bypassed, v6 bool)) {
	for i := range 4 {
		v6, cfg := i&1 != 0, ipq.Config{Workers: ipq.Inline, GSO: true}
		if i&2 != 0 {
			cfg.Workers = 2
		}
		t.Run(fmt.Sprintf("v6=%v,workers=%d", v6, cfg.Workers), func(t *testing.T) {
			t.Parallel()
			n := &bypassed{net: labtest.NewNetwork(t)}
			b, err := bypass.New(bypass.Config{NetNS: n.net.Router.FD()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
			if n.rules, err = b.Install(bypass.Rules{Hook: ipq.Forward, Match: []bypass.Match{{Protocol: unix.IPPROTO_TCP}}}); err != nil {
				t.Fatal(err)
			}
			if n.e, err = New(Config{MaxConns: 100, MaxMemory: minMaxMemory, Open: func(*Conn) Inspector {
				r := &recorder{}
				r.say = func(Direction, []byte) Decision { return says }
				return r
			}}); err != nil {
				t.Fatal(err)
			}
			cfg.Bypass, cfg.NetNS = b, n.net.Router.FD()
			if n.queue, err = ipq.Open(cfg); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- n.queue.Run(t.Context(), n.e) }()
			t.Cleanup(func() { // by which t.Context has ended
				if err := <-ended; err != nil {
					t.Error(err)
				}
				n.queue.Close()
			})
			f(t, n, v6)
			if s := n.queue.Stats(); s.BypassFailed != 0 || s.Bypassed == 0 {
				t.Errorf("%+v", s.Counts)
			}
		})
	}
}

// Pass has the kernel accept the rest of the connection, both directions, without
// queueing it.
func TestKernelPassSettles(t *testing.T) {
	t.Parallel()
	eachBypass(t, Pass, func(t *testing.T, n *bypassed, v6 bool) {
		client, server := pair(t, n.net, v6)
		if _, err := io.WriteString(client, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		before := n.queue.Stats().Received
		const size = 1 << 20
		for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
			go func() {
				way[0].Write(make([]byte, size))
				way[0].(*net.TCPConn).CloseWrite()
			}()
			if b, err := io.ReadAll(way[1]); err != nil || len(b) != size {
				t.Errorf("%d bytes have come, %v", len(b), err)
			}
		}
		s, rules := n.e.Stats(), ruled(t, n)
		if after := n.queue.Stats().Received; after != before || rules.Accepted.Packets == 0 {
			t.Errorf("%d packets were queued before the connection was settled, and then %d: %+v", before, after-before, rules)
		}
		if s.Closed[Passed] != 1 || s.Bytes != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Drop has the kernel drop what follows.
func TestKernelDropSettles(t *testing.T) {
	t.Parallel()
	eachBypass(t, Drop, func(t *testing.T, n *bypassed, v6 bool) {
		client, server := pair(t, n.net, v6)
		if _, err := io.WriteString(client, "x"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the connection is settled", func() bool {
			return n.queue.Stats().Verdicts == n.queue.Stats().Received && n.queue.Stats().Bypassed > 0
		})
		before := n.queue.Stats().Received
		eventually(t, "the kernel drops what is sent again", func() bool { return ruled(t, n).Dropped.Packets >= 2 })
		if after := n.queue.Stats().Received; after != before {
			t.Errorf("%d packets were queued after the connection was settled", after-before)
		}
		server.SetReadDeadline(time.Now())
		if b, err := io.ReadAll(server); len(b) > 0 || err == nil {
			t.Errorf("the server reads %q, %v", b, err)
		}
		client.(*net.TCPConn).SetLinger(0)
		server.(*net.TCPConn).SetLinger(0)
	})
}

func ruled(t *testing.T, n *bypassed) bypass.RuleCounters {
	t.Helper()
	c, err := n.rules.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// A connection whose SYN has waited in the queue while an older one, of the same ports,
// was settled is inspected all the same.
func TestKernelReopensSettled(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{ipq.Inline, 2} {
		for name, c := range map[string]struct {
			cfg   Config
			stray bool // the first packets are of no connection
		}{"passed": {Config{}, false}, "midstream": {Config{Midstream: Pass}, true}} {
			t.Run(fmt.Sprintf("%s,workers=%d", name, workers), func(t *testing.T) {
				t.Parallel()
				n := labtest.NewNetwork(t)
				b, err := bypass.New(bypass.Config{NetNS: n.Router.FD()})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { b.Close() })
				if _, err := b.Install(bypass.Rules{Hook: ipq.Forward, Match: []bypass.Match{{Protocol: unix.IPPROTO_TCP}}, Queue: 7}); err != nil {
					t.Fatal(err)
				}
				c.cfg.MaxConns, c.cfg.MaxMemory = 100, minMaxMemory
				w := newWorldIn(t, n, ipq.Config{Queue: 7, Workers: workers, Bypass: b}, c.cfg, false, false, false)
				w.say = func([]byte) Decision { return Pass }
				a := w.assault(20000)
				seq, ackSeq := uint32(1000), uint32(1)
				if !c.stray {
					if seq, ackSeq, err = a.open(rand.New(rand.NewPCG(1, 2))); err != nil {
						t.Fatal(err)
					}
				}
				// While the first of these is handled, the others wait.
				w.mu.Lock()
				w.hold = make(chan struct{})
				a.answered = false
				w.mu.Unlock()
				next := seq + 1<<24
				for _, p := range []segment{
					{flags: ack, seq: seq, ack: ackSeq, window: 65535, data: []byte("x")},
					{flags: ack, seq: seq + 1, ack: ackSeq, window: 65535, data: []byte("y")},
					{flags: rst | ack, seq: seq + 2, ack: ackSeq, window: 65535},
					{flags: syn, seq: next - 1, window: 65535},
				} {
					if err := a.send(&packet{segment: p}, false); err != nil {
						t.Fatal(err)
					}
				}
				eventually(t, "all wait", func() bool {
					s, err := n.Router.QueueStats()
					return err == nil && len(s) == 1 && s[0].Waiting == 4
				})
				close(w.hold)
				if err := a.await("the answer to the second SYN, in the queue", func() bool {
					return a.answered && a.last.Flags&(syn|ack) == syn|ack && a.last.Ack == next
				}); err != nil {
					t.Error(err)
				}
				a.end()
			})
		}
	}
}
