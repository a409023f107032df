package ipq

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/zerocopy"
)

// A fakeQueue is a Queue, or a Conn, on a fake kernel.
type fakeQueue struct {
	*fakekernel.Kernel
	t     testing.TB
	alter func(s *socket) // unless nil, changes the socket as it is dialled
}

const fakeNumber = 7

func newFake(t testing.TB) *fakeQueue {
	t.Helper()
	return newFakeNumber(t, fakeNumber)
}

func newFakeNumber(t testing.TB, number uint16) *fakeQueue {
	t.Helper()
	k, err := fakekernel.New(number)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return &fakeQueue{Kernel: k, t: t}
}

func (f *fakeQueue) dial(cfg *Config, queue uint16) (*socket, error) {
	s, err := socketOn(cfg, queue, f.Conn())
	if err == nil && f.alter != nil {
		f.alter(s)
	}
	return s, err
}

// calls, as fakeQueue.alter, has the calls of the hot path fail as the fake
// kernel is told to have them fail.
func (f *fakeQueue) calls(s *socket) { s.recv, s.send = f.RecvMsg, f.SendMsg }

// socketOn returns a socket that is not netlink's own.
func socketOn(cfg *Config, queue uint16, conn *netlink.Conn) (*socket, error) {
	s, err := nfsock.New(cfg.options(queue), conn)
	if err != nil {
		return nil, err
	}
	return newSocket(s), nil
}

func (f *fakeQueue) open(cfg Config) *Queue {
	f.t.Helper()
	cfg.Queue = fakeNumber
	cfg, err := cfg.withDefaults()
	if err != nil {
		f.t.Fatal(err)
	}
	q, err := openQueue(cfg, f.dial)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { q.Close() })
	return q
}

// serve opens a queue and runs it until stop is called.
func (f *fakeQueue) serve(cfg Config, h HandlerFunc) (q *Queue, stop func()) {
	f.t.Helper()
	q = f.open(cfg)
	return q, f.run(q, h)
}

// run runs a queue until stop is called.
func (f *fakeQueue) run(q *Queue, h HandlerFunc) (stop func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, h) }()
	stopped := false
	stop = func() {
		f.t.Helper()
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("Run: %v", err)
		}
	}
	f.t.Cleanup(stop)
	return stop
}

// startRun runs q until its context is cancelled.
func startRun(q *Queue, h Handler) (cancel context.CancelFunc, done <-chan error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := make(chan error, 1)
	go func() { c <- q.Run(ctx, h) }()
	return cancel, c
}

// endOf waits for Run, which would go on for ever if the test is to fail.
func endOf(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		buf := make([]byte, 1<<20)
		t.Fatalf("Run does not end\n%s", buf[:runtime.Stack(buf, true)])
		return nil
	}
}

func (f *fakeQueue) connect(cfg Config) *Conn {
	f.t.Helper()
	cfg.Queue, cfg.Workers, cfg.Batches = fakeNumber, Inline, 1
	cfg, err := cfg.withDefaults()
	if err != nil {
		f.t.Fatal(err)
	}
	c, err := openConn(&cfg, f.dial)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	return c
}

// openTwo opens a Queue over two kernel queues.
func openTwo(t *testing.T, cfg Config) (q *Queue, kernels [2]*fakeQueue) {
	t.Helper()
	kernels = [2]*fakeQueue{newFakeNumber(t, fakeNumber), newFakeNumber(t, fakeNumber+1)}
	cfg.Queue, cfg.Queues = fakeNumber, 2
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	q, err = openQueue(cfg, func(cfg *Config, queue uint16) (*socket, error) {
		return kernels[queue-fakeNumber].dial(cfg, queue)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q, kernels
}

// queue queues a packet and fails the test if it cannot.
func (f *fakeQueue) queue(p fakekernel.Packet) uint32 {
	f.t.Helper()
	id, err := f.Queue(p)
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

// verdict waits for a packet's verdict.
func (f *fakeQueue) verdict(id uint32) fakekernel.Verdict {
	f.t.Helper()
	v, err := f.awaitVerdict(id)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// awaitVerdict is verdict for goroutines that must not end the test.
func (f *fakeQueue) awaitVerdict(id uint32) (fakekernel.Verdict, error) {
	ctx, cancel := aMinute()
	defer cancel()
	return f.Verdict(ctx, id)
}

// allDecided waits until no packet waits for its verdict.
func (f *fakeQueue) allDecided() error {
	ctx, cancel := aMinute()
	defer cancel()
	return f.Decided(ctx, 0)
}

// aMinute bounds a wait, which only a failure makes so long.
func aMinute() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Minute)
}

// check fails the test unless every packet has one verdict. What was written
// may still be on its way to the fake kernel, which reads on a goroutine of its
// own.
func (f *fakeQueue) check() {
	f.t.Helper()
	_ = f.allDecided() // which Check finds out by itself
	if err := f.Check(); err != nil {
		f.t.Error(err)
	}
}

// await waits until cond holds, and fails the test if it never does. It is for
// what only a counter tells.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if !poll(cond) {
		t.Fatalf("waited in vain: %s", what)
	}
}

// poll waits until cond holds, which it asks less and less often, and gives up
// after a minute.
func poll(cond func() bool) bool {
	const shortest, longest = 50 * time.Microsecond, 5 * time.Millisecond
	end := time.Now().Add(time.Minute)
	for pause := shortest; !cond(); pause = min(2*pause, longest) {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(pause)
	}
	return true
}

// closing returns a condition for await: that q is being closed, or is closed.
func closing(q *Queue) func() bool {
	return func() bool { return errors.Is(q.Run(context.Background(), accept), ErrClosed) } // at once, while it runs
}

// udp4 returns a UDP packet over IPv4 with right checksums, of a flow that the
// port chooses.
func udp4(port uint16, data []byte) []byte {
	b := make([]byte, 28+len(data))
	b[0], b[8], b[9] = 0x45, 64, 17
	copy(b[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(b[20:], port)
	binary.BigEndian.PutUint16(b[22:], 9)
	copy(b[28:], data)
	if err := zerocopy.FixPacket(b); err != nil {
		panic(err)
	}
	return b
}

// udp6 is udp4 over IPv6.
func udp6(port uint16, data []byte) []byte {
	b := make([]byte, 48+len(data))
	b[0], b[6], b[7] = 0x60, 17, 64
	copy(b[8:], []byte{0x20, 0x01, 0x0d, 0xb8})
	copy(b[24:], []byte{0x20, 0x01, 0x0d, 0xb8})
	b[23], b[39] = 1, 2
	binary.BigEndian.PutUint16(b[40:], port)
	binary.BigEndian.PutUint16(b[42:], 9)
	copy(b[48:], data)
	if err := zerocopy.FixPacket(b); err != nil {
		panic(err)
	}
	return b
}

// modes are the ways that handlers run in.
var modes = []struct {
	name    string
	workers int
}{{"inline", Inline}, {"pool", 2}}

// eachMode runs a test Inline and with a pool.
func eachMode(t *testing.T, test func(t *testing.T, workers int)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { test(t, m.workers) })
	}
}

var accept = HandlerFunc(func(*Packet) Verdict { return Accept })

// bareSocket returns a queue's end of a socket pair whose far end the test
// reads and writes itself, where a fake kernel would be in the way: it reads
// all the time, and allocates. Config messages go to config.
func bareSocket(t *testing.T, config func(netlink.Message) error) (near *fakekernel.Socket, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	return &fakekernel.Socket{File: os.NewFile(uintptr(fds[0]), "queue"), Control: config}, fds[1]
}

// bareQueue opens a queue on a bareSocket that takes every configuration.
func bareQueue(t *testing.T, cfg Config) (q *Queue, far int) {
	t.Helper()
	near, far := bareSocket(t, func(netlink.Message) error { return nil })
	return openOn(t, cfg, netlink.NewConn(near, 1)), far
}

func openOn(t *testing.T, cfg Config, conn *netlink.Conn) *Queue {
	t.Helper()
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	q, err := openQueue(cfg, func(cfg *Config, queue uint16) (*socket, error) { return socketOn(cfg, queue, conn) })
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// feed queues n packets of one flow, from another goroutine because the socket
// pair may be full.
func feed(t *testing.T, far, n int) (done <-chan error) {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		for i := range n {
			m := (&fakekernel.Packet{Payload: udp4(1, nil)}).Message(0, uint32(i+1))
			if _, err := unix.Write(far, m); err != nil {
				result <- err
				return
			}
		}
		result <- nil
	}()
	return result
}

// writtenIDs reads the datagrams that the queue has written, or will until
// there were want of them, and returns the ids that each decides.
func writtenIDs(t *testing.T, far, want int) (ids []uint32) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for len(ids) < want {
		n, err := unix.Read(far, buf)
		if err != nil || n == 0 {
			t.Fatalf("after %d verdicts: %d bytes, %v", len(ids), n, err)
		}
		for b := buf[:n]; len(b) > 0; {
			_, msg, rest, ok := zerocopy.NextMessage(b)
			if !ok {
				t.Fatalf("%d bytes are no message: % x", len(b), b)
			}
			ids = append(ids, binary.BigEndian.Uint32(msg[28:])) // of struct nfqnl_msg_verdict_hdr
			b = rest
		}
	}
	return ids
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
