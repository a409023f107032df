package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipq/goipq/ipq"
)

const honestPort = 9090

// connect opens a connection from the client to the server.
func (w *world) connect(l net.Listener) (c, s net.Conn, err error) {
	if err := w.net.Client.Do(func() (err error) {
		c, err = net.DialTimeout("tcp", l.Addr().String(), patience)
		return err
	}); err != nil {
		return nil, nil, err
	}
	l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	if s, err = l.Accept(); err != nil {
		c.Close()
		return nil, nil, err
	}
	for _, c := range []net.Conn{c, s} {
		c.SetDeadline(time.Now().Add(patience))
	}
	return c, s, nil
}

// converse has the server send back what it gets, and compares.
func converse(c, s net.Conn, size int) error {
	defer c.Close()
	go func() {
		defer s.Close()
		io.Copy(s, s)
	}()
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	go func() {
		c.Write(data)
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err == nil && !bytes.Equal(got, data) {
		err = fmt.Errorf("%d bytes were sent, and %d others came back", size, len(got))
	}
	return err
}

// newBoundsWorld returns a world, and where honest connections go, whose windows are no
// larger than what a small engine has room for.
func newBoundsWorld(t *testing.T, v6 bool, engine Config) (*world, net.Listener) {
	w := newWorld(t, ipq.Config{Queue: 7, Queues: 2, Workers: 2, GSO: true, MaxQueueLen: 4096}, engine, v6, false)
	const name, sizes = "net.ipv4.tcp_rmem", "4096 65536 65536"
	if err := errors.Join(w.net.Client.Sysctl(name, sizes), w.net.Server.Sysctl(name, sizes)); err != nil {
		t.Fatal(err)
	}
	return w, w.listen(w.net.Server, w.victim, honestPort)
}

// A gate lets so many bursts of a flood pass while a connection is opened.
type gate struct {
	mu      sync.Mutex
	change  sync.Cond // signalled when opening ends
	opening bool
	bursts  int
}

func newGate() *gate {
	g := &gate{}
	g.change.L = &g.mu
	return g
}

func (g *gate) set(opening bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opening, g.bursts = opening, 0
	g.change.Broadcast()
}

func (g *gate) pass(most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.opening && g.bursts == most {
		g.change.Wait()
	}
	g.bursts++
}

// A flood of SYNs through the kernel takes no more places than there are, each is
// counted, and honest connections are opened meanwhile, and carry all: those that are
// opened within as many SYNs as there are places.
func TestKernelSynFlood(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v6=%v", v6), func(t *testing.T) {
			t.Parallel()
			const conns, most = 256, 60000
			least, talks := fewer(8192), fewer(16)
			w, l := newBoundsWorld(t, v6, Config{MaxConns: conns, MaxMemory: minMaxMemory})
			var honest atomic.Int64
			var over atomic.Bool
			var wg sync.WaitGroup
			g := newGate()
			wg.Go(func() {
				defer over.Store(true)
				for range talks {
					g.set(true)
					client, server, err := w.connect(l)
					if g.set(false); err == nil {
						err = converse(client, server, fewer(100_000))
					}
					if err != nil {
						t.Error(err)
						return
					}
					honest.Add(1)
				}
			})
			sent := 0
			for sent < least || sent < most && !over.Load() {
				const burst = 64 // as fast as they are decided, so that the queue is not full
				g.pass(conns/burst - 2)
				a := w.assault(uint16(1 + sent%most)) // which counts what comes of the last
				for i := range burst {
					a.port = uint16(1 + (sent+burst-1-i)%most)
					if err := a.send(&packet{segment: segment{flags: syn, seq: uint32(sent), window: 65535}}, false); err != nil {
						t.Fatal(err)
					}
				}
				sent += burst
				err := a.await("a SYN", func() bool { return a.handled > 0 })
				a.end()
				if s := w.e.Stats(); err != nil || s.Open > conns || s.Memory > minMaxMemory {
					t.Fatalf("%v, %+v", err, s)
				}
			}
			wg.Wait()
			eventually(t, "every SYN is counted", func() bool { // some wait for a worker
				s := w.e.Stats()
				return s.Evicted+s.Dropped[ConnLimit] >= uint64(sent-conns)
			})
			s := w.e.Stats()
			t.Logf("%d SYNs, %d honest connections: %+v", sent, honest.Load(), s)
			if honest.Load() != int64(talks) || s.Opened != uint64(talks) {
				t.Errorf("%d honest connections were opened, and %d carried all", s.Opened, honest.Load())
			}
		})
	}
}

// A flood of gaps takes no more memory than there is for such, each segment is counted,
// and honest connections carry all meanwhile.
func TestKernelGapFlood(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v6=%v", v6), func(t *testing.T) {
			t.Parallel()
			const attackers, gaps = 12, 60
			w, l := newBoundsWorld(t, v6, Config{MaxConns: 1000, MaxMemory: minMaxMemory, MaxBehind: minMaxBehind})
			rnd := rand.New(rand.NewPCG(1, 2))
			flood := func(i int) error {
				a := w.assault(uint16(20000 + i))
				seq, ackSeq, err := a.open(rnd)
				for j := range gaps {
					p := packet{segment: segment{flags: ack, seq: seq + uint32(100+2*j), ack: ackSeq, window: 65535, data: []byte{1}}}
					err = errors.Join(err, a.send(&p, false))
				}
				return errors.Join(err, a.settled())
			}
			for i := range attackers {
				if err := flood(i); err != nil {
					t.Fatal(err)
				}
			}
			s := w.e.Stats()
			const half = minMaxMemory / ipq.BufferSize * perChunk / 2
			if s.Memory != half*blockSize || s.Early != half || s.Early+s.Dropped[Ahead] != attackers*gaps {
				t.Errorf("%d segments came early: %+v", attackers*gaps, s)
			}
			for range 5 {
				client, server, err := w.connect(l)
				if err == nil {
					err = converse(client, server, fewer(500_000))
				}
				if err != nil {
					t.Error(err)
				}
			}
			s = w.e.Stats()
			t.Logf("%+v", s)
			if s.Memory > minMaxMemory || s.Dropped[MemoryLimit] != 0 || s.Closed[Limited] != 0 || s.Opened != attackers+5 {
				t.Errorf("%+v", s)
			}
		})
	}
}
