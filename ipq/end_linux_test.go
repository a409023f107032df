package ipq

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

// The kernel refuses a config message after all, such as the one that tells it
// to queue no more when the capability was lost meanwhile: Run ends and says so.
func TestRunReportsARefusedConfiguration(t *testing.T) {
	for errno, is := range map[syscall.Errno]func(error) bool{
		syscall.ENODEV: func(err error) bool { return errors.Is(err, ErrUnbound) },
		syscall.EPERM:  func(err error) bool { return errors.As(err, new(*CapabilityError)) },
		syscall.ENOMEM: func(error) bool { return true },
	} {
		eachMode(t, func(t *testing.T, workers int) {
			f := newFake(t)
			q := f.open(Config{Workers: workers})
			done := make(chan error, 1)
			go func() { done <- q.Run(t.Context(), accept) }()
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
			if err := f.Send(fakekernel.ErrorMessage(uint32(errno), zerocopy.TypeConfig, 1)); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !is(err) || !errors.Is(err, errno) || !errors.As(err, new(*OpError)) {
				t.Errorf("Run: %v, want %v", err, errno)
			}
		})
		eachMode(t, func(t *testing.T, workers int) {
			f := newFake(t)
			q := f.open(Config{Workers: workers})
			f.Refuse(func(fakekernel.Config) syscall.Errno { return errno })
			cancel, done := startRun(q, accept)
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
			cancel()
			if err := endOf(t, done); !is(err) || !errors.Is(err, errno) {
				t.Errorf("idle: Run: %v, want %v", err, errno)
			}
		})
	}
}

// Close returns when no handler runs any more.
func TestCloseWaitsForHandlers(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		started, release := make(chan struct{}), make(chan struct{})
		var finished atomic.Bool
		done := make(chan error, 1)
		go func() {
			done <- q.Run(t.Context(), HandlerFunc(func(*Packet) Verdict {
				close(started)
				<-release
				finished.Store(true)
				return Accept
			}))
		}()
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		<-started
		closed := make(chan error)
		go func() { closed <- q.Close() }()
		await(t, "the loop to be told", q.loops[0].stopping.Load)
		close(release)
		if err := <-closed; err != nil || !finished.Load() {
			t.Errorf("Close: %v, handler finished: %v", err, finished.Load())
		}
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		f.verdict(1)
		f.check()
	})
}

// The queue is unbound when everything is decided and written, not before:
// the kernel would drop the rest.
func TestUnbindingComesLast(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		shut := make(chan struct{})
		var decided atomic.Bool
		f.Refuse(func(c fakekernel.Config) syscall.Errno {
			switch {
			case c[zerocopy.CfgQueueMaxlen] != nil:
				close(shut)
			case !decided.Load():
				t.Error("unbound while a handler runs")
			}
			return 0
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- q.Run(ctx, HandlerFunc(func(p *Packet) Verdict {
				cancel()
				if workers != Inline {
					<-shut
				}
				time.Sleep(20 * time.Millisecond) // what is tested is that this does not matter
				decided.Store(true)
				return Accept
			}))
		}()
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s := q.Stats(); s.Verdicts != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A queue that cannot be told to stop, or to go, makes Run fail.
func TestRunReportsAFailedEnd(t *testing.T) {
	const firstAttr = zerocopy.GenHeaderLen // of a config message's data: its length, its type, its value
	for op, fails := range map[string]func(data []byte) bool{
		"drain": func(data []byte) bool { return data[firstAttr+2] == zerocopy.CfgQueueMaxlen },
		"unbind": func(data []byte) bool {
			return data[firstAttr+2] == zerocopy.CfgCmd && data[firstAttr+4] == zerocopy.CmdUnbind
		},
	} {
		near, _ := bareSocket(t, func(m netlink.Message) error {
			if fails(m.Data) {
				return syscall.ENOBUFS
			}
			return nil
		})
		q := openOn(t, Config{}, netlink.NewConn(near, 1))
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		var e *OpError
		if err := q.Run(ctx, accept); !errors.As(err, &e) || e.Op != op || !errors.Is(err, syscall.ENOBUFS) {
			t.Errorf("%s fails; Run: %v", op, err)
		}
		q.Close()
	}
}

// Run leaves nothing behind in a context that lives on.
func TestRunLeavesItsContext(t *testing.T) {
	f := newFake(t)
	q := f.open(Config{Workers: Inline})
	ctx := &watchedContext{Context: context.Background(), done: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, accept) }()
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
	q.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := ctx.watching.Load(); n != 0 {
		t.Errorf("%d functions wait for the end of the context", n)
	}
}

// A watchedContext counts the functions that are to be called at its end, as
// context.AfterFunc registers them. It never ends.
type watchedContext struct {
	context.Context
	done     chan struct{}
	watching atomic.Int32
}

func (c *watchedContext) Done() <-chan struct{} { return c.done }

func (c *watchedContext) AfterFunc(func()) (stop func() bool) {
	c.watching.Add(1)
	return func() bool { c.watching.Add(-1); return true }
}
