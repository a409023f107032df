package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
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

const (
	kernelPort = 8080 // of the server in connections with a hostile end
	// diesBehind is the TTL, at the router, of packets that are not to arrive.
	diesBehind = 32
	patience   = 2 * time.Minute
)

// A world is a router with an Engine, between a hostile host that writes its packets by
// itself and one whose kernel is the victim. Everything that the victim says in such
// connections ends at the router, behind the Engine: the hostile host's kernel does not
// know of them. Other connections pass.
type world struct {
	t       *testing.T
	net     *labtest.Network
	v6      bool
	server  bool // the hostile host is the server
	raw     int
	e       *Engine
	queue   *ipq.Queue
	say     func(data []byte) Decision // what the Inspector says of what it has seen for the victim; nil: Continue
	victims *netlab.NS
	hostile netip.Addr
	victim  netip.Addr

	mu       sync.Mutex
	assaults map[uint16]*assault // by the client's port
	hold     chan struct{}       // closed when packets may go on; nil: they may
}

// newWorld returns a world whose connections have their directions queued as cfg says: by
// one queue, or by two.
func newWorld(t *testing.T, cfg ipq.Config, engine Config, v6, server bool) *world {
	t.Helper()
	return newWorldIn(t, labtest.NewNetwork(t), cfg, engine, v6, server, true)
}

// newWorldIn is newWorld in a network, which may have its rules already.
func newWorldIn(t *testing.T, n *labtest.Network, cfg ipq.Config, engine Config, v6, server, rules bool) *world {
	t.Helper()
	w := &world{t: t, net: n, v6: v6, server: server, assaults: map[uint16]*assault{}}
	clientAddr, serverAddr := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.2.0.1")
	if v6 {
		clientAddr, serverAddr = netip.MustParseAddr("fd01::1"), netip.MustParseAddr("fd02::1")
	}
	attacker := w.net.Client
	w.hostile, w.victim, w.victims = clientAddr, serverAddr, w.net.Server
	if server {
		attacker = w.net.Server
		w.hostile, w.victim, w.victims = serverAddr, clientAddr, w.net.Client
	}
	engine.Open = w.open
	var err error
	if w.e, err = New(engine); err != nil {
		t.Fatal(err)
	}
	if rules {
		queueTCP(t, n, cfg)
	}
	var stop func() ipq.Stats
	w.queue, stop = serveQueues(t, n, cfg, w)
	t.Cleanup(func() { stop() })
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	if err := attacker.Do(func() (err error) {
		w.raw, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.raw) })
	if server {
		return w
	}
	l := w.listen(w.victims, w.victim, kernelPort)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			a := w.assaults[c.RemoteAddr().(*net.TCPAddr).AddrPort().Port()]
			w.mu.Unlock()
			if a == nil {
				c.Close()
				continue
			}
			a.add(c)
		}
	}()
	return w
}

func (w *world) listen(at *netlab.NS, addr netip.Addr, port uint16) (l net.Listener) {
	w.t.Helper()
	if err := at.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, port).String())
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	return l
}

// HandlePacket implements [ipq.Handler].
func (w *world) HandlePacket(p *ipq.Packet) ipq.Verdict {
	var h zerocopy.TCP
	ip := p.IP()
	ok := h.Parse(ip)
	var from, to uint16
	var ttl byte
	var data int
	if ok {
		from, to = binary.BigEndian.Uint16(ip[h.Off:]), binary.BigEndian.Uint16(ip[h.Off+2:])
		ttl, data = ip[8], len(ip)-h.Data
		if w.v6 {
			ttl = ip[7]
		}
	}
	w.mu.Lock()
	hold := w.hold
	w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	v := w.e.HandlePacket(p)
	if !ok || from != kernelPort && to != kernelPort {
		return v
	}
	port := from
	if from == kernelPort {
		port = to
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.assaults[port]
	hostile := (from == kernelPort) == w.server
	if a != nil {
		if hostile {
			a.handled++
		} else if v.Kind() == ipq.Accept {
			a.last, a.lastData, a.answered = h, uint32(data), true
		}
		a.tell()
	}
	if hostile && ttl != diesBehind {
		return v
	}
	return ipq.Drop
}

// open is Config.Open.
func (w *world) open(c *Conn) Inspector {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &sight{w: w, toVictim: ToServer}
	if c.Server().Addr() != w.victim {
		s.toVictim = ToClient
	}
	port := c.Client().Port()
	if port == kernelPort {
		port = c.Server().Port() // the hostile server has called
	}
	if a := w.assaults[port]; a != nil && (c.Client().Port() == kernelPort || c.Server().Port() == kernelPort) {
		a.sights = append(a.sights, s)
	}
	return s
}

// A sight is what an Inspector has seen of a connection: for the victim, and from it.
type sight struct {
	w        *world
	toVictim Direction
	data     [2][]byte
}

func (s *sight) Data(_ *Conn, d Direction, b []byte) Decision {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	i := 0
	if d != s.toVictim {
		i = 1
	}
	s.data[i] = append(s.data[i], b...)
	if s.w.say != nil && i == 0 {
		return s.w.say(s.data[0])
	}
	return Continue
}

func (s *sight) Close(*Conn, Reason) {}

// An assault is what the hostile host does with one of the client's ports.
type assault struct {
	w      *world
	port   uint16
	ctx    context.Context // ends when the test's patience does
	cancel context.CancelFunc
	news   chan struct{} // has a token when something has come
	sent   int

	// Under world.mu:
	handled  int          // packets of the hostile host
	last     zerocopy.TCP // what the victim said last
	lastData uint32
	answered bool
	sights   []*sight
	victims  []*victim
	ended    bool
}

// A victim is an application on the victim's kernel: it reads what it can.
type victim struct {
	conn    net.Conn
	mu      sync.Mutex
	read    []byte
	written []byte
	done    chan struct{}
}

// assault begins one. Its caller ends it.
func (w *world) assault(port uint16) *assault {
	a := &assault{w: w, port: port, news: make(chan struct{}, 1)}
	a.ctx, a.cancel = context.WithTimeout(context.Background(), patience)
	w.mu.Lock()
	w.assaults[port] = a
	w.mu.Unlock()
	return a
}

// tell wakes whoever awaits something.
func (a *assault) tell() {
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// add notes an application.
func (a *assault) add(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	v := &victim{conn: c, done: make(chan struct{})}
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	if a.ended {
		c.Close()
		return
	}
	a.victims = append(a.victims, v)
	a.tell()
	go func() {
		defer close(v.done)
		for b := make([]byte, 4096); ; {
			n, err := c.Read(b)
			v.mu.Lock()
			v.read = append(v.read, b[:n]...)
			v.mu.Unlock()
			a.tell()
			if err != nil {
				return
			}
		}
	}()
}

// call has the victim call the hostile server. It returns what ends the attempt, and
// waits for it.
func (a *assault) call() (giveUp func()) {
	ctx, cancel := context.WithCancel(a.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.w.victim, a.port))}
		var c net.Conn
		if err := a.w.victims.Do(func() (err error) {
			c, err = d.DialContext(ctx, "tcp", netip.AddrPortFrom(a.w.hostile, kernelPort).String())
			return err
		}); err == nil {
			a.add(c)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// hasRead returns what the first application has read.
func (a *assault) hasRead() []byte {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	if len(a.victims) == 0 {
		return nil
	}
	v := a.victims[0]
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.read
}

// awaitRead waits until the first application has read so many bytes.
func (a *assault) awaitRead(n int) error {
	return a.until("an application that reads", func() bool { return len(a.hasRead()) >= n })
}

// await waits until something is so, under the world's lock.
func (a *assault) await(what string, is func() bool) error {
	return a.until(what, func() bool {
		a.w.mu.Lock()
		defer a.w.mu.Unlock()
		return is()
	})
}

// until waits until something is so.
func (a *assault) until(what string, is func() bool) error {
	for {
		if is() {
			return nil
		}
		select {
		case <-a.news:
		case <-a.ctx.Done():
			return errors.New("nothing comes of " + what)
		}
	}
}

// settled waits until the Engine has decided what was sent.
func (a *assault) settled() error {
	return a.await("packets that were sent", func() bool { return a.handled >= a.sent })
}

// send sends a packet of the hostile host.
func (a *assault) send(p *packet, timestamps bool) error {
	b := a.encode(p, timestamps)
	a.sent++
	if a.w.v6 {
		return unix.Sendto(a.w.raw, b, 0, &unix.SockaddrInet6{Addr: a.w.victim.As16()})
	}
	return unix.Sendto(a.w.raw, b, 0, &unix.SockaddrInet4{Addr: a.w.victim.As4()})
}

// encode makes an IP packet of p.
func (a *assault) encode(p *packet, timestamps bool) []byte {
	ip := 20
	if a.w.v6 {
		ip = 40
	}
	b := make([]byte, ip+20, ip+32+len(p.data))
	ttl := byte(64)
	if p.lost {
		ttl = diesBehind + 1
	}
	from, to := a.w.hostile.AsSlice(), a.w.victim.AsSlice()
	if a.w.v6 {
		b[0], b[6], b[7] = 0x60, unix.IPPROTO_TCP, ttl
		copy(b[8:], from)
		copy(b[24:], to)
	} else {
		b[0], b[8], b[9] = 0x45, ttl, unix.IPPROTO_TCP
		copy(b[12:], from)
		copy(b[16:], to)
	}
	h := b[ip:]
	ports := [2]uint16{a.port, kernelPort}
	if a.w.server {
		ports = [2]uint16{kernelPort, a.port}
	}
	binary.BigEndian.PutUint16(h, ports[0])
	binary.BigEndian.PutUint16(h[2:], ports[1])
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
		binary.BigEndian.PutUint32(b[ip+24:], p.ts)
	}
	b = append(b, p.data...)
	if err := zerocopy.FixPacket(b); err != nil {
		panic(err)
	}
	if p.broken {
		b[ip+16]++
	}
	return b
}

// mirror brings what the sender knows of the victim up to date.
func (a *assault) mirror(h *host) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	l := &a.last
	if !a.answered {
		return
	}
	h.sndNxt = l.Seq + a.lastData
	if l.Flags&syn != 0 {
		h.isn = l.Seq
		h.sndNxt++
	}
	switch {
	case l.Flags&rst != 0:
		h.state = over
	case l.Flags&ack != 0:
		h.state, h.rcvNxt = talking, l.Ack
	case l.Flags&syn != 0:
		h.state = calling
	}
}

// open opens a connection to the hostile client's victim, and returns the first sequence
// number of its data and what it acknowledges.
func (a *assault) open(rnd *rand.Rand) (seq, ackSeq uint32, err error) {
	seq = rnd.Uint32()
	if err := a.send(&packet{segment: segment{flags: syn, seq: seq - 1, window: 65535}}, false); err != nil {
		return 0, 0, err
	}
	if err := a.await("a SYN", func() bool { return a.answered && a.last.Flags&(syn|ack) == syn|ack }); err != nil {
		return 0, 0, err
	}
	a.w.mu.Lock()
	ackSeq = a.last.Seq + 1
	a.w.mu.Unlock()
	err = a.send(&packet{segment: segment{flags: ack, seq: seq, ack: ackSeq, window: 65535}}, false)
	return seq, ackSeq, errors.Join(err, a.settled())
}

// write has the newest application write.
func (a *assault) write(b []byte) {
	a.w.mu.Lock()
	var v *victim
	if n := len(a.victims); n > 0 {
		v = a.victims[n-1]
	}
	a.w.mu.Unlock()
	if v != nil {
		n, _ := v.conn.Write(b) // which the sender may have reset
		v.mu.Lock()
		v.written = append(v.written, b[:n]...)
		v.mu.Unlock()
	}
}

// end ends the applications, and returns them, and what was inspected of each connection:
// for the victim, and from it.
func (a *assault) end() (victims []*victim, inspected [][2][]byte) {
	a.w.mu.Lock()
	victims, a.ended = a.victims, true
	a.w.mu.Unlock()
	for _, v := range victims {
		v.conn.Close()
		<-v.done
	}
	a.cancel()
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	delete(a.w.assaults, a.port)
	for _, s := range a.sights { // which the victim's kernel may add to
		inspected = append(inspected, s.data)
	}
	return victims, inspected
}
