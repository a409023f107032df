package stream

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
)

func TestMain(m *testing.M) { labtest.Main(m) }

var kernelConns = flag.Int("kernel-conns", 200, "hostile connections against the kernel as the receiver")

const (
	kernelPort = 8080
	// diesBehind is the TTL, at the router, of packets that are not to arrive.
	diesBehind = 32
	patience   = 2 * time.Minute
)

// A referee is the handler of the router's queue: the Engine, and what the test sees of
// the server. The client's kernel gets none of the server's packets, since it does not
// know of the connections that are made in its name.
type referee struct {
	e *Engine

	mu       sync.Mutex
	handled  int                  // packets of the client
	port     uint16               // of the current connection's client
	last     zerocopy.TCP         // what the server said last in it
	answered chan struct{}        // it has a token once the server has answered a SYN
	streams  map[uint16][]*[]byte // what was inspected, by the client's port
}

func (r *referee) HandlePacket(p *ipq.Packet) ipq.Verdict {
	var h zerocopy.TCP
	ip := bytes.Clone(p.IP())
	v := r.e.HandlePacket(p)
	if !h.Parse(ip) {
		return v
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if binary.BigEndian.Uint16(ip[h.Off:]) != kernelPort {
		r.handled++
		if ip[8] == diesBehind {
			return ipq.Drop
		}
		return v
	}
	if binary.BigEndian.Uint16(ip[h.Off+2:]) == r.port && v.Kind() == ipq.Accept {
		r.last = h
		if h.Flags&(syn|ack) == syn|ack {
			select {
			case r.answered <- struct{}{}:
			default:
			}
		}
	}
	return ipq.Drop
}

// collector is an Inspector that keeps what is for the server.
type collector struct {
	r    *referee
	data *[]byte
}

func (c *collector) Data(_ *Conn, d Direction, b []byte) Decision {
	if d == ToServer {
		c.r.mu.Lock()
		defer c.r.mu.Unlock()
		*c.data = append(*c.data, b...)
	}
	return Continue
}

func (c *collector) Close(*Conn, Reason) {}

func (r *referee) open(c *Conn) Inspector {
	r.mu.Lock()
	defer r.mu.Unlock()
	data := new([]byte)
	port := c.Client().Port()
	r.streams[port] = append(r.streams[port], data)
	return &collector{r, data}
}

// mirror brings what the sender knows of its receiver up to date.
func (r *referee) mirror(h *host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.last.Flags&rst != 0:
		h.state = over
	case r.last.Flags&ack != 0:
		h.state, h.isn, h.rcvNxt = talking, r.last.Seq, r.last.Ack
		h.sndNxt = r.last.Seq
		if r.last.Flags&syn != 0 {
			h.sndNxt++
		}
	}
}

// encode makes an IP packet of p, from a port of the client.
func (p *packet) encode(port uint16, timestamps bool) []byte {
	b := make([]byte, 40, 80+len(p.data))
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_TCP
	if p.lost {
		b[8] = diesBehind + 1
	}
	copy(b[12:], []byte{10, 1, 0, 1, 10, 2, 0, 1})
	h := b[20:]
	binary.BigEndian.PutUint16(h, port)
	binary.BigEndian.PutUint16(h[2:], kernelPort)
	binary.BigEndian.PutUint32(h[4:], p.seq)
	if p.flags&ack != 0 {
		binary.BigEndian.PutUint32(h[8:], p.ack)
	}
	h[12], h[13] = 5<<4, p.flags
	binary.BigEndian.PutUint16(h[14:], p.window)
	binary.BigEndian.PutUint16(h[18:], p.urgent)
	if timestamps {
		h[12] = 8 << 4
		b = append(b, 1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0)
		binary.BigEndian.PutUint32(b[44:], p.ts)
	}
	b = append(b, p.data...)
	if err := zerocopy.FixPacket(b); err != nil {
		panic(err)
	}
	if p.broken {
		b[36]++
	}
	return b
}

// The promise, with the kernel as the receiver, behind a router with the queue. What a
// socket reads is the start of a stream that was inspected.
func TestKernelPromise(t *testing.T) {
	t.Parallel()
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d -kernel-conns %d", seed, *kernelConns)
	n := labtest.NewNetwork(t)
	if _, err := n.Router.InstallQueue(netlab.Rule{
		Hook: netlab.Forward, Match: netlab.Match{L4Proto: unix.IPPROTO_TCP}, Queue: 7,
	}); err != nil {
		t.Fatal(err)
	}
	r := &referee{answered: make(chan struct{}, 1), streams: map[uint16][]*[]byte{}}
	var err error
	if r.e, err = New(Config{MaxConns: 1 << 14, Idle: 30 * time.Second, Open: r.open}); err != nil {
		t.Fatal(err)
	}
	q, err := ipq.Open(ipq.Config{Queue: 7, NetNS: n.Router.FD(), Workers: 2, GSO: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx, r) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		q.Close()
	}()

	var listener net.Listener
	if err := n.Server.Do(func() (err error) {
		listener, err = net.Listen("tcp4", "10.2.0.1:8080")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var raw int
	if err := n.Client.Do(func() (err error) {
		raw, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(raw)
	server := newReaders(listener)

	versions := newVersions(rand.New(rand.NewPCG(seed, 0)))
	sent, total, conns := 0, 0, 0
	for i := range *kernelConns {
		rnd := rand.New(rand.NewPCG(seed+uint64(i), 1))
		port := uint16(20000 + i%30000)
		d := newDuel(rnd, r.e, 0, versions, i)
		d.base = rnd.Uint32()
		d.isn = d.base - 1
		d.h.reopens = true
		timestamps := d.oneIn(2)
		r.mu.Lock()
		r.port, r.last, r.streams[port] = port, zerocopy.TCP{}, nil
		r.mu.Unlock()
		select {
		case <-r.answered: // one of an earlier connection
		default:
		}
		send := func(p packet) {
			if err := unix.Sendto(raw, p.encode(port, timestamps), 0, &unix.SockaddrInet4{Addr: [4]byte{10, 2, 0, 1}}); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		send(packet{segment: segment{flags: syn, seq: d.isn, window: 65535}, ts: 1})
		d.ts = 200
		select {
		case <-r.answered:
		case <-time.After(patience):
			t.Fatalf("-seed %d: the server does not answer", seed+uint64(i))
		}
		for j := range 20 + rnd.IntN(60) {
			r.mirror(d.h)
			if j == 0 { // which opens the connection
				send(packet{segment: segment{flags: ack, seq: d.isn + 1, ack: d.h.sndNxt, window: 65535}, ts: 201})
				continue
			}
			p := d.next()
			send(p)
			if d.oneIn(6) {
				p.lost = false
				send(p)
			}
			r.await(t, sent)
		}
		for _, read := range server.end(port) {
			if !r.inspected(port, read) {
				t.Errorf("-seed %d -kernel-conns 1: read %q, of no stream that was inspected", seed+uint64(i), read)
			}
			total += len(read)
			conns++
		}
	}
	listener.Close()
	t.Logf("%d connections, %d packets, %d bytes read; %+v", conns, sent, total, r.e.Stats())
	if total < 5**kernelConns {
		t.Errorf("%d bytes were read: the senders do not get far", total)
	}
}

// await waits until so many packets of the client were handled.
func (r *referee) await(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Microsecond) {
		r.mu.Lock()
		handled := r.handled
		r.mu.Unlock()
		if handled >= n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d packets have come to the queue", handled, n)
		}
	}
}

// inspected reports whether what was read is the start of a stream that was inspected.
func (r *referee) inspected(port uint16, read []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, data := range r.streams[port] {
		if bytes.HasPrefix(*data, read) {
			return true
		}
	}
	return len(read) == 0
}

// readers are the server's applications: each reads what it can.
type readers struct {
	mu    sync.Mutex
	conns map[uint16][]*reader
}

type reader struct {
	conn net.Conn
	data []byte
	done chan struct{}
}

func newReaders(l net.Listener) *readers {
	s := &readers{conns: map[uint16][]*reader{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.(*net.TCPConn).SetLinger(0)
			r := &reader{conn: c, done: make(chan struct{})}
			port := uint16(c.RemoteAddr().(*net.TCPAddr).Port)
			s.mu.Lock()
			s.conns[port] = append(s.conns[port], r)
			s.mu.Unlock()
			go r.read()
		}
	}()
	return s
}

func (r *reader) read() {
	defer close(r.done)
	for b := make([]byte, 4096); ; {
		n, err := r.conn.Read(b)
		r.data = append(r.data, b[:n]...)
		if err != nil {
			return
		}
	}
}

// end ends the connections of a port, and returns what was read of each.
func (s *readers) end(port uint16) (read [][]byte) {
	s.mu.Lock()
	conns := s.conns[port]
	delete(s.conns, port)
	s.mu.Unlock()
	for _, r := range conns {
		r.conn.Close()
		<-r.done
		read = append(read, r.data)
	}
	return read
}
