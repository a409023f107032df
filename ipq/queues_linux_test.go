package ipq

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

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

// A flow that is slow in one queue holds up nothing in another, though the
// workers are the same.
func TestSlowFlowDoesNotHoldUpOtherQueues(t *testing.T) {
	q, kernels := openTwo(t, Config{Workers: 2, BatchSize: 1, Batches: 2})
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	done := make(chan error, 1)
	go func() {
		done <- q.Run(context.Background(), HandlerFunc(func(p *Packet) Verdict {
			if p.Queue() == fakeNumber {
				<-held
			}
			return Accept
		}))
	}()
	stuck := kernels[0].queue(fakekernel.Packet{Payload: udp4(1, nil)})
	await(t, "the slow packet", func() bool { return q.Stats().Received == 1 })
	for port := range uint16(50) { // half of them belong to the strand of the same number
		kernels[1].verdict(kernels[1].queue(fakekernel.Packet{Payload: udp4(port, nil)}))
	}
	if n := kernels[0].Waiting(); n != 1 {
		t.Errorf("%d packets wait in the slow queue", n)
	}
	release()
	kernels[0].verdict(stuck)
	q.Close()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	kernels[0].check()
	kernels[1].check()
}

// One queue of several fails: Run ends for all, with that queue's error.
func TestOneFailedQueueEndsRun(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for failing := range 2 {
			q, kernels := openTwo(t, Config{Workers: workers})
			done := make(chan error, 1)
			go func() { done <- q.Run(context.Background(), accept) }()
			for _, k := range kernels {
				k.verdict(k.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
			}
			if err := kernels[failing].Send(fakekernel.ErrorMessage(uint32(syscall.ENODEV), zerocopy.TypeConfig, 1)); err != nil {
				t.Fatal(err)
			}
			var op *OpError
			if err := <-done; !errors.As(err, &op) || op.Queue != uint16(fakeNumber+failing) {
				t.Errorf("queue %d failed; Run: %v", fakeNumber+failing, err)
			}
			if s := q.Stats(); s.Verdicts != 2 {
				t.Errorf("stats over both queues: %+v", s)
			}
		}
	})
}

// An error is told also when its queue is the last to come to an end.
func TestLateErrorsAreReported(t *testing.T) {
	q, kernels := openTwo(t, Config{Workers: 2})
	otherIsDone := make(chan struct{})
	kernels[1].Refuse(func(c fakekernel.Config) syscall.Errno {
		if cmd := c[zerocopy.CfgCmd]; cmd != nil && cmd[0] == zerocopy.CmdUnbind {
			close(otherIsDone)
		}
		return 0
	})
	done := make(chan error, 1)
	go func() {
		done <- q.Run(context.Background(), HandlerFunc(func(*Packet) Verdict {
			<-otherIsDone
			return Accept
		}))
	}()
	kernels[0].queue(fakekernel.Packet{Payload: udp4(1, nil)})
	if err := kernels[0].Send(fakekernel.ErrorMessage(uint32(syscall.ENODEV), zerocopy.TypeConfig, 1)); err != nil {
		t.Fatal(err)
	}
	var op *OpError
	if err := <-done; !errors.As(err, &op) || op.Queue != fakeNumber {
		t.Errorf("Run: %v", err)
	}
}

// A failed Open closes the sockets of the queues before it, and its own.
func TestFailedOpenClosesSockets(t *testing.T) {
	kernels := [2]*fakeQueue{newFake(t), newFake(t)}
	kernels[1].Refuse(func(fakekernel.Config) syscall.Errno { return syscall.ENOMEM })
	cfg, err := Config{Queue: fakeNumber, Queues: 2}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openQueue(cfg, func(cfg *Config, queue uint16) (*socket, error) {
		return kernels[queue-fakeNumber].dial(cfg, queue)
	}); !errors.Is(err, syscall.ENOMEM) {
		t.Fatalf("Open: %v", err)
	}
	for i, k := range kernels {
		if _, err := k.Queue(fakekernel.Packet{}); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the socket of queue %d is open: %v", i, err)
		}
	}
}
