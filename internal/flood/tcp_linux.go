package flood

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// streamBuffer is what one write or read moves: enough for the system calls to
// cost little, and for the kernel to build its largest segments.
const streamBuffer = 128 << 10

// StartServer starts a server in the network namespace of the calling thread.
// It listens when StartServer returns. Errors, and the caller's duties, are
// those of Start.
func StartServer(ctx context.Context, cfg Server) (*Flood, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return start(ctx, job{Server: &cfg})
}

// StartClient starts a client in the network namespace of the calling thread.
// Errors, and the caller's duties, are those of Start. When it is stopped it
// ends its connections in order: what they have taken, the server still gets.
func StartClient(ctx context.Context, cfg Client) (*Flood, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return start(ctx, job{Client: &cfg})
}

// A service is the child's side of a Server.
type service struct {
	cfg      Server
	c        *counters
	listener net.Listener
	conns    sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

func newService(cfg Server, c *counters) (*service, error) {
	l, err := net.Listen("tcp", cfg.Listen.String())
	if err != nil {
		return nil, fmt.Errorf("flood: listen on %v: %w", cfg.Listen, err)
	}
	limitThreads(cfg.CPUs)
	return &service{cfg: cfg, c: c, listener: l, open: make(map[net.Conn]struct{})}, nil
}

// limitThreads counts anew the CPUs that the runtime found when it started.
func limitThreads(cpus []int) {
	if len(cpus) > 0 {
		runtime.GOMAXPROCS(len(cpus))
	}
}

// run serves until stopped closes, which also ends the connections.
func (s *service) run(stopped <-chan struct{}) error {
	go func() {
		<-stopped
		s.close()
	}()
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			s.conns.Wait()
			return nil
		}
		if err != nil {
			return fmt.Errorf("flood: accept: %w", err)
		}
		s.mu.Lock()
		if s.closed {
			conn.Close()
		} else {
			s.open[conn] = struct{}{}
			s.conns.Add(1)
			go s.serve(conn.(*net.TCPConn))
		}
		s.mu.Unlock()
	}
}

func (s *service) close() {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.open {
		reset(conn.(*net.TCPConn))
	}
}

// reset ends a connection at once, without waiting for what is on its way.
func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

func (s *service) serve(conn *net.TCPConn) {
	defer s.conns.Done()
	s.c.opened.Add(1)
	err := s.exchange(conn)
	s.mu.Lock()
	delete(s.open, conn)
	s.mu.Unlock()
	conn.Close()
	if err != nil {
		s.c.failed.Add(1)
	} else {
		s.c.finished.Add(1)
	}
}

func (s *service) exchange(conn *net.TCPConn) error {
	if s.cfg.Answer == 0 {
		return s.drain(conn)
	}
	buf := make([]byte, maxSize)
	n, err := conn.Read(buf)
	s.c.bytes.Add(uint64(n))
	if err != nil {
		return err
	}
	_, err = conn.Write(buf[:s.cfg.Answer])
	return err
}

// drain reads until the client ends.
func (s *service) drain(conn net.Conn) error {
	buf := make([]byte, streamBuffer)
	for {
		n, err := conn.Read(buf)
		s.c.bytes.Add(uint64(n))
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// A visitor is the child's side of a Client.
type visitor struct {
	cfg     Client
	c       *counters
	latency *Latencies
	start   time.Time
	next    atomic.Uint64 // the number of the next connection
}

// run keeps Streams connections until stopped closes.
func (v *visitor) run(stopped <-chan struct{}) error {
	limitThreads(v.cfg.CPUs)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-stopped
		cancel()
	}()
	v.start = time.Now()
	var streams sync.WaitGroup
	for range v.cfg.Streams {
		streams.Go(func() {
			if v.cfg.Churn > 0 {
				v.churn(ctx)
			} else {
				v.fill(ctx)
			}
		})
	}
	streams.Wait()
	v.c.elapsedNanos.Store(int64(time.Since(v.start)))
	return nil
}

func (v *visitor) dial(ctx context.Context, n uint64) (*net.TCPConn, error) {
	to := net.TCPAddr{IP: hostIn(v.cfg.To, n%(1<<flowBits)).AsSlice(), Port: int(v.cfg.Port)}
	dialer := net.Dialer{Timeout: connectTimeout, KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	v.c.opened.Add(1)
	return conn.(*net.TCPConn), nil
}

// fill sends as much as one connection takes. One that breaks is made again.
func (v *visitor) fill(ctx context.Context) {
	buf := make([]byte, streamBuffer)
	for i := range buf {
		buf[i] = byte(i)
	}
	for ctx.Err() == nil {
		conn, err := v.dial(ctx, v.next.Add(1)-1)
		if err == nil {
			err = v.pump(ctx, conn, buf)
		}
		if err != nil && ctx.Err() == nil {
			v.c.failed.Add(1)
		}
	}
}

// pump writes until ctx ends, and then ends the connection in order.
func (v *visitor) pump(ctx context.Context, conn *net.TCPConn, buf []byte) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Now()) })()
	for ctx.Err() == nil {
		n, err := conn.Write(buf)
		v.c.bytes.Add(uint64(n))
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// churn makes connections, one after the other or each when it is due.
func (v *visitor) churn(ctx context.Context) {
	buf := make([]byte, max(v.cfg.Churn, maxSize))
	for ctx.Err() == nil {
		n := v.next.Add(1) - 1
		began := time.Now()
		if v.cfg.Rate > 0 {
			began = v.start.Add(time.Duration(float64(n) / v.cfg.Rate * float64(time.Second)))
			if !sleep(ctx, time.Until(began)) {
				return
			}
		}
		switch err := v.visit(ctx, n, buf); {
		case err == nil:
			v.latency.Record(time.Since(began))
			v.c.finished.Add(1)
		case ctx.Err() == nil:
			v.c.failed.Add(1)
		}
	}
}

// visit is the life of one short connection.
func (v *visitor) visit(ctx context.Context, n uint64, buf []byte) error {
	conn, err := v.dial(ctx, n)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return err
	}
	sent, err := conn.Write(buf[:v.cfg.Churn])
	v.c.bytes.Add(uint64(sent))
	if err != nil {
		return err
	}
	for {
		if _, err := conn.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// sleep waits for d; it reports false when ctx has ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
