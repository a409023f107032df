package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// serveKernel runs an engine on queues of the router, both directions of a connection
// by two, and returns how to stop it.
func serveKernel(t testing.TB, n *labtest.Network, cfg ipq.Config, h ipq.Handler) (stop func() ipq.Stats) {
	t.Helper()
	cfg.Queues = 2
	queueTCP(t, n, cfg)
	_, stop = serveQueues(t, n, cfg, h)
	return stop
}

// queueTCP has connections queued at the router, both directions by one queue, or each
// by its own.
func queueTCP(t testing.TB, n *labtest.Network, cfg ipq.Config) {
	t.Helper()
	for i, dev := range []string{"client", "server"} {
		if _, err := n.Router.InstallQueue(netlab.Rule{
			Hook:  netlab.Forward,
			Match: netlab.Match{L4Proto: unix.IPPROTO_TCP, InDev: dev},
			Queue: cfg.Queue + uint16(i%max(cfg.Queues, 1)),
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// serveQueues runs an engine on the router's queues.
func serveQueues(t testing.TB, n *labtest.Network, cfg ipq.Config, h ipq.Handler) (q *ipq.Queue, stop func() ipq.Stats) {
	t.Helper()
	cfg.NetNS = n.Router.FD()
	q, err := ipq.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx, h) }()
	return q, func() ipq.Stats {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s := q.Stats()
		q.Close()
		return s
	}
}

// pair opens a TCP connection from the client to the server.
func pair(t testing.TB, n *labtest.Network, v6 bool) (client, server net.Conn) {
	t.Helper()
	addr := "10.2.0.1:8080"
	if v6 {
		addr = "[fd02::1]:8080"
	}
	var l net.Listener
	if err := n.Server.Do(func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := n.Client.Do(func() (err error) {
		client, err = net.DialTimeout("tcp", addr, patience)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { c.Close() })
	}
	return client, server
}

// each runs a test for the ways in which packets come.
func each(t *testing.T, f func(t *testing.T, cfg ipq.Config, v6 bool)) {
	for _, v6 := range []bool{false, true} {
		for _, workers := range []int{ipq.Inline, 2} {
			for _, gso := range []bool{false, true} {
				t.Run(fmt.Sprintf("IPv6 %v, workers %d, GSO %v", v6, workers, gso), func(t *testing.T) {
					t.Parallel()
					f(t, ipq.Config{Queue: 3, Workers: workers, GSO: gso, MaxQueueLen: 4096}, v6)
				})
			}
		}
	}
}

// Kernels talk to each other through the engine: what arrives is what was sent, the
// Inspector has seen it all, and no packet was dropped.
func TestKernelHonestConnections(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, cfg ipq.Config, v6 bool) {
		n := labtest.NewNetwork(t)
		rec := &recorder{}
		e, err := New(Config{MaxConns: 10, MaxMemory: 32 << 20, MaxBehind: 8 << 20, Open: func(*Conn) Inspector { return rec }})
		if err != nil {
			t.Fatal(err)
		}
		stop := serveKernel(t, n, cfg, e)
		client, server := pair(t, n, v6)
		data := exchange(t, client, server, fewer(2<<20))
		queue := stop()
		rec.saw(t, data)
		if s := e.Stats(); s.Dropped != (ByCause{}) || s.Changed != 0 || s.Uninspected != 0 {
			t.Errorf("%+v, %+v", s, queue.Counts)
		}
	})
}

// exchange has both ends send, compares what they read with it, and returns it.
func exchange(t *testing.T, client, server net.Conn, size int) (data [2][]byte) {
	t.Helper()
	var read [2][]byte
	for i := range data {
		data[i] = make([]byte, size)
		rand.NewChaCha8([32]byte{byte(i)}).Read(data[i])
	}
	var wg sync.WaitGroup
	for i, c := range []net.Conn{client, server} {
		wg.Go(func() {
			if _, err := c.Write(data[i]); err != nil {
				t.Error(err)
			}
			c.(*net.TCPConn).CloseWrite()
		})
		wg.Go(func() {
			var err error
			if read[1-i], err = io.ReadAll(c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range data {
		if !bytes.Equal(read[i], data[i]) {
			t.Errorf("%v: %d bytes were sent, %d read", Direction(i), len(data[i]), len(read[i]))
		}
	}
	return data
}

// saw compares what was inspected with what was sent.
func (r *recorder) saw(t *testing.T, data [2][]byte) {
	t.Helper()
	for i := range data {
		if !bytes.Equal(r.data[i], data[i]) {
			t.Errorf("%v: %d bytes were sent, %d inspected", Direction(i), len(data[i]), len(r.data[i]))
		}
	}
}

// A pattern is stopped wherever segments cut it: the receiver reads what comes before
// the segment that completes it.
func TestKernelStopsPattern(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, cfg ipq.Config, v6 bool) {
		n := labtest.NewNetwork(t)
		var mu sync.Mutex
		e, err := New(Config{MaxConns: 100, MaxMemory: 1 << 20, Open: func(*Conn) Inspector {
			mu.Lock()
			defer mu.Unlock()
			return hunter(&recorder{})
		}})
		if err != nil {
			t.Fatal(err)
		}
		stop := serveKernel(t, n, cfg, e)
		const pattern = "attack"
		for cut := range len(pattern) {
			client, server := pair(t, n, v6)
			client.(*net.TCPConn).SetNoDelay(true)
			if _, err := io.WriteString(client, "before "+pattern[:cut]); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len("before ")+cut)
			if _, err := io.ReadFull(server, got); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(client, pattern[cut:]+" after"); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(patience); e.Stats().Closed[Dropped] != uint64(cut+1); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("cut at %d: nothing is found: %+v", cut, e.Stats())
				}
			}
			server.(*net.TCPConn).SetLinger(0)
			client.(*net.TCPConn).SetLinger(0)
			server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if more, err := io.ReadAll(server); len(more) > 0 || err == nil {
				t.Errorf("cut at %d: the server reads %q and %q, %v", cut, got, more, err)
			}
			client.Close()
			server.Close()
		}
		if s := stop(); s.Dropped < uint64(len(pattern)) {
			t.Errorf("%+v", s.Counts)
		}
		if s := e.Stats(); s.Dropped[Conflict] != 0 || s.Dropped[Verdict] != uint64(len(pattern)) {
			t.Errorf("%+v", s)
		}
	})
}

// Reset ends the connection for both ends at once, and none of the bytes arrives.
func TestKernelResetsBothEnds(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, cfg ipq.Config, v6 bool) {
		n := labtest.NewNetwork(t)
		e, err := New(Config{MaxConns: 100, MaxMemory: 1 << 20, Open: func(*Conn) Inspector {
			r := &recorder{}
			r.say = func(d Direction, _ []byte) Decision {
				if strings.Contains(string(r.data[d]), "attack") {
					return Reset
				}
				return Continue
			}
			return r
		}})
		if err != nil {
			t.Fatal(err)
		}
		stop := serveKernel(t, n, cfg, e)
		client, server := pair(t, n, v6)
		defer client.Close()
		defer server.Close()
		const before, rest = "before att", "ack"
		if _, err := io.WriteString(client, before); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, make([]byte, len(before))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(client, rest); err != nil {
			t.Fatal(err)
		}
		for name, end := range map[string]net.Conn{"client": client, "server": server} {
			if b, err := io.ReadAll(end); len(b) > 0 || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the %s reads %q, %v; want a reset", name, b, err)
			}
		}
		if s := stop(); s.Rejects.Resets != 2 || e.Stats().Closed[Dropped] != 1 {
			t.Errorf("%+v, %+v", s.Rejects, e.Stats())
		}
	})
}
