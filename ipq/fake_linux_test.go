package ipq

import (
	"context"
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/zerocopy"
)

// A fakeQueue is a Queue, or a Conn, on a fake kernel.
type fakeQueue struct {
	*fakekernel.Kernel
	t   testing.TB
	ctx context.Context // bounds waits, for tests that fail
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return &fakeQueue{k, t, ctx}
}

func (f *fakeQueue) dial(cfg *Config, queue uint16) (*socket, error) {
	return socketOn(cfg, queue, f.Conn())
}

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
	v, err := f.Verdict(f.ctx, id)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// check fails the test unless every packet has one verdict. What was written
// may still be on its way to the fake kernel, which reads on a goroutine of its
// own.
func (f *fakeQueue) check() {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); f.Waiting() > 0 && time.Now().Before(end); {
		runtime.Gosched()
	}
	if err := f.Check(); err != nil {
		f.t.Error(err)
	}
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

// eachMode runs a test Inline and with a pool.
func eachMode(t *testing.T, test func(t *testing.T, workers int)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { test(t, m.workers) })
	}
}
