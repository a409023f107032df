package ipq

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
)

// A trial is a run of a schedule.
type trial struct {
	*schedule
	t       testing.TB
	cfg     Config // with its defaults
	kernels []*fakekernel.Kernel
	judges  []*judge
	q       *Queue
	h       *handling
	ctx     context.Context // of Run
}

// run runs the schedule and fails the test if anything is not as planned. It
// returns how many packets were delivered.
func (s *schedule) run(t testing.TB) (delivered uint64) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Fatalf("%v\nreplay with: go test ./ipq -run Property -seed %d -packets %d", s, s.seed, s.asked)
		}
	}()
	tr := s.open(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tr.ctx = ctx
	tr.h = &handling{s: s, cfg: &tr.cfg, judges: tr.judges, cancel: cancel, reached: make(chan struct{})}
	if s.end == byDeadContext {
		cancel()
	}
	done := make(chan error, 1)
	var producers sync.WaitGroup
	for i := range tr.kernels {
		producers.Go(func() { tr.produce(i) })
	}
	go func() { done <- tr.q.Run(ctx, tr.h) }()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tr.finish(&producers, cancel)
	}()

	defer tr.mustProgress()()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	<-ended
	producers.Wait()
	tr.h.later.Wait()
	if err := tr.q.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	return tr.verify()
}

// mustProgress has the program die, with all that there is to know, if the run
// does not get on any more. On a busy machine it may take its time.
func (tr *trial) mustProgress() (stop func()) {
	done := make(chan struct{})
	go func() {
		for last := ""; ; {
			select {
			case <-done:
				return
			case <-time.After(time.Minute):
			}
			now := tr.progress()
			if now == last {
				buf := make([]byte, 1<<20)
				panic(fmt.Sprintf("no end of %v\n%s\n%s", tr.schedule, now, buf[:runtime.Stack(buf, true)]))
			}
			last = now
		}
	}()
	return func() { close(done) }
}

// open makes the kernels and opens the queue on them.
func (s *schedule) open(t testing.TB) *trial {
	t.Helper()
	tr := &trial{schedule: s, t: t}
	var err error
	if tr.cfg, err = s.cfg.withDefaults(); err != nil {
		t.Fatal(err)
	}
	create := fakekernel.New
	if s.direct {
		create = fakekernel.NewDirect
	}
	for i := range tr.cfg.Queues {
		k, err := create(tr.cfg.Queue + uint16(i))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.Close() })
		j := newJudge(s, &tr.cfg, i)
		k.Judge(j.verdict)
		k.Inject(s.faults, s.seed)
		k.SetSequence(s.first)
		tr.kernels, tr.judges = append(tr.kernels, k), append(tr.judges, j)
	}
	tr.q, err = openQueue(tr.cfg, func(cfg *Config, queue uint16) (*socket, error) {
		k := tr.kernels[queue-tr.cfg.Queue]
		sock, err := socketOn(cfg, queue, k.Conn())
		if err == nil {
			sock.recv, sock.send = k.RecvMsg, k.SendMsg
			sock.rejects = &rejecter{cfg: cfg, out: nowhere{}}
		}
		return sock, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// produce offers the packets of one queue.
func (tr *trial) produce(i int) {
	k := tr.kernels[i]
	d := newDice(tr.seed^0xf00d, uint32(i))
	offer := k.Offer
	if tr.waits {
		offer = k.OfferWait
	}
	var p fakekernel.Packet
	var buf []byte
	burst := 0
	// patiently offers the packet until it is not the queue that is full.
	patiently := func(number uint32) (fate fakekernel.Fate) {
		for {
			if _, fate = offer(&p, number); fate != fakekernel.QueueFull || !tr.waits {
				return fate
			}
			if _ = k.Decided(tr.ctx, tr.cfg.MaxQueueLen/2); k.Waiting() == 0 {
				k.Flush() // those whose verdicts were refused
				runtime.Gosched()
			}
		}
	}
	for number := uint32(1); number <= uint32(tr.packets); number++ {
		plan := tr.plan(i, number)
		buf = plan.packet(&p, buf)
		switch patiently(number) {
		case fakekernel.NoListener, fakekernel.SocketClosed:
			return
		case fakekernel.QueueFull, fakekernel.FailedOpen:
			runtime.Gosched()
		}
		if tr.flushes > 0 && d.one(tr.flushes) {
			k.Flush()
		}
		if tr.stalls > 0 && d.one(tr.stalls) {
			k.Stall(1 + d.below(15))
		}
		switch {
		case tr.pace == pingpong:
			_ = k.Decided(tr.ctx, 0)
		case tr.pace == bursts && burst == 0:
			burst = d.below(40)
			time.Sleep(time.Duration(d.below(50)) * time.Microsecond)
		case tr.pace == bursts:
			burst--
		}
	}
}

// finish ends the run as the schedule says.
func (tr *trial) finish(producers *sync.WaitGroup, cancel context.CancelFunc) {
	all := make(chan struct{})
	go func() {
		defer close(all)
		producers.Wait()
		if tr.schedule.end == whenDone {
			for _, k := range tr.kernels {
				_ = k.Decided(tr.ctx, 0)
			}
		}
	}()
	if tr.schedule.end == whenDone {
		<-all
	} else {
		select {
		case <-tr.h.reached:
		case <-all: // the rest was dropped
		}
	}
	if tr.schedule.end == byClose {
		poll(tr.q.began) // otherwise there is no Run to end
		var closers sync.WaitGroup
		for range 3 {
			closers.Go(func() {
				if err := tr.q.Close(); err != nil {
					tr.t.Errorf("Close: %v", err)
				}
			})
		}
		closers.Wait()
	}
	cancel()
	<-all
}

func (q *Queue) began() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state != opened
}

// verify compares what the kernels, the handler and the engine know.
func (tr *trial) verify() (delivered uint64) {
	for i, k := range tr.kernels {
		if err := k.Check(); err != nil {
			tr.t.Errorf("queue %d: %v", i, err)
		}
		delivered += k.Counters().Delivered
	}
	if err := errors.Join(tr.h.wrong...); err != nil {
		tr.t.Errorf("handler: %v", err)
	}
	stats := tr.q.Stats()
	if err := tr.h.check(tr.judges, stats); err != nil {
		tr.t.Errorf("deferred packets: %v", err)
	}
	for _, wrong := range checkStats(tr.schedule, stats, tr.judges, tr.kernels) {
		tr.t.Error(wrong)
	}
	for i, h := range tr.q.Histograms() {
		c := &stats.Queues[i].Counts
		if n := h.VerdictLatency.Count(); n != c.Verdicts {
			tr.t.Errorf("queue %d: %d latencies of %d verdicts", i, n, c.Verdicts)
		}
		if n := h.HandlerTime.Count(); n > c.Received || n < c.DroppedBy.Handler {
			tr.t.Errorf("queue %d: %d calls were timed, of %d packets, of which handlers dropped %d", i, n, c.Received, c.DroppedBy.Handler)
		}
	}
	return delivered
}

// progress says how far the run has come, for one that does not end.
func (tr *trial) progress() string {
	var b strings.Builder
	for _, k := range tr.kernels {
		c := k.Counters()
		fmt.Fprintf(&b, "%d waiting; %d of %d delivered, %d dropped, %d verdicts\n",
			k.Waiting(), c.Delivered, tr.packets, c.QueueDropped+c.UserDropped, c.Verdicts)
	}
	return b.String()
}
