package ipq

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

var accept = HandlerFunc(func(*Packet) Verdict { return Accept })

func TestBindMessage(t *testing.T) {
	f := newFake(t)
	f.open(Config{MaxQueueLen: 77, SnapLen: 128, FailOpen: true, GSO: true})
	c := f.Configs()
	if len(c) != 1 {
		t.Fatalf("%d config messages before packets can come, want 1: %v", len(c), c)
	}
	for typ, want := range map[uint16]string{
		zerocopy.CfgCmd: "\x01\x00\x00\x00", zerocopy.CfgParams: "\x00\x00\x00\x80\x02", zerocopy.CfgQueueMaxlen: "\x00\x00\x00\x4d",
		zerocopy.CfgFlags: "\x00\x00\x00\x05", zerocopy.CfgMask: "\x00\x00\x00\x05",
	} {
		if string(c[0][typ]) != want {
			t.Errorf("attribute %d: %q, want %q", typ, c[0][typ], want)
		}
	}
}

// The end of Run: first the kernel stops queueing, what is queued is decided,
// and then the queue is unbound.
func TestRunDrains(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		started := make(chan struct{})
		proceed := make(chan struct{})
		q, stop := f.serve(Config{Workers: workers, BatchSize: 4}, func(p *Packet) Verdict {
			if p.ID() == 1 {
				close(started)
				<-proceed
			}
			return Accept
		})
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		<-started
		for i := range 50 {
			f.queue(fakekernel.Packet{Payload: udp4(uint16(i), nil)})
		}
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			stop()
		}()
		close(proceed)
		<-stopped
		for id := uint32(1); id <= 51; id++ {
			f.verdict(id)
		}
		f.check()
		c := f.Configs()
		if len(c) != 3 || string(c[1][zerocopy.CfgQueueMaxlen]) != "\x00\x00\x00\x00" || string(c[2][zerocopy.CfgCmd]) != "\x02\x00\x00\x00" {
			t.Errorf("config messages: %v, want bind, length 0, unbind", c)
		}
		if s := q.Stats(); s.Verdicts != 51 {
			t.Errorf("%d verdicts, want 51", s.Verdicts)
		}
	})
}

func TestRunRunsOnce(t *testing.T) {
	f := newFake(t)
	q, stop := f.serve(Config{}, accept)
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})) // it runs
	if err := q.Run(t.Context(), accept); !errors.Is(err, ErrRunning) {
		t.Errorf("second Run: %v, want ErrRunning", err)
	}
	stop()
	if err := q.Run(t.Context(), accept); !errors.Is(err, ErrClosed) {
		t.Errorf("Run after Run: %v, want ErrClosed", err)
	}
}

func TestCloseEndsRun(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		done := make(chan error)
		go func() { done <- q.Run(context.Background(), accept) }()
		f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		for range 2 {
			if err := q.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := q.Run(t.Context(), accept); !errors.Is(err, ErrClosed) {
			t.Errorf("Run after Close: %v", err)
		}
		if s := q.Stats(); s.Verdicts != 1 {
			t.Errorf("stats after Close: %+v", s)
		}
	})
}

func TestRunWithEndedContext(t *testing.T) {
	f := newFake(t)
	q := f.open(Config{})
	f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.Run(ctx, accept); err != nil {
		t.Error(err)
	}
	f.verdict(1) // queued before, so decided
}

// The kernel's side goes away: Run says so instead of waiting for ever.
func TestRunFailsWithItsSocket(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		var op *OpError
		release := make(chan struct{})
		done := make(chan error)
		go func() {
			done <- q.Run(context.Background(), HandlerFunc(func(*Packet) Verdict { <-release; return Accept }))
		}()
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		f.Close()
		close(release)
		if err := <-done; !errors.As(err, &op) || op.Queue != fakeNumber {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	const eperm, eopnotsupp, enodev, enomem = syscall.EPERM, syscall.EOPNOTSUPP, syscall.ENODEV, syscall.ENOMEM
	bind := func(c fakekernel.Config) bool {
		return len(c[zerocopy.CfgCmd]) > 0 && c[zerocopy.CfgCmd][0] == zerocopy.CmdBind
	}
	for _, x := range []struct {
		what   string
		kernel func(fakekernel.Config) syscall.Errno
		is     error
		as     func(error) bool
		says   string
	}{
		{"no capability", func(fakekernel.Config) syscall.Errno { return eperm },
			fs.ErrPermission, func(err error) bool { return errors.As(err, new(*CapabilityError)) }, "CAP_NET_ADMIN"},
		{"taken", func(c fakekernel.Config) syscall.Errno {
			if bind(c) {
				return eperm
			}
			return 0
		}, syscall.EBUSY, func(err error) bool { return errors.As(err, new(*TakenError)) }, "queue 7"},
		{"flag", func(c fakekernel.Config) syscall.Errno {
			if f := c[zerocopy.CfgFlags]; len(f) == 4 && f[3]&zerocopy.FlagConntrack != 0 {
				return eopnotsupp
			}
			return enodev
		}, errors.ErrUnsupported, func(err error) bool {
			var f *FeatureError
			return errors.As(err, &f) && len(f.Features) == 1 && f.Features[0] == "Conntrack"
		}, "Config.Conntrack"},
		{"other", func(fakekernel.Config) syscall.Errno { return enomem },
			enomem, func(error) bool { return true }, "queue 7: bind"},
	} {
		f := newFake(t)
		f.Refuse(x.kernel)
		cfg, err := Config{Queue: fakeNumber, Conntrack: true, GSO: true}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		q, err := openQueue(cfg, f.dial)
		if q != nil || !errors.Is(err, x.is) || !x.as(err) || !strings.Contains(err.Error(), x.says) || !errors.As(err, new(*OpError)) {
			t.Errorf("%s: %v", x.what, err)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for what, cfg := range map[string]Config{
		"Queues": {Queues: -1}, "Queue+Queues-1": {Queue: 65535, Queues: 2}, "Copy": {Copy: 9},
		"SnapLen": {SnapLen: 65536}, "MaxQueueLen": {MaxQueueLen: 65537}, "ReadBuffer": {ReadBuffer: -1}, "NetNS": {NetNS: -1},
		"Workers": {Workers: -2}, "BatchSize": {BatchSize: 1025}, "Batches": {Batches: -1},
		"FlushAfter": {FlushAfter: -1}, "BusyPoll": {BusyPoll: -1}, "OnPanic": {OnPanic: 2},
	} {
		_, err := Open(cfg)
		if err == nil || !strings.Contains(err.Error(), "Config."+what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Dial(Config{Queues: 2}); err == nil {
		t.Error("Dial took two queues")
	}
}
