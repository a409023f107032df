//go:build linux

// Packetd is a product's service: a queue that systemd starts, watches, upgrades and
// stops without losing a packet. It drops UDP to port 9, and accepts everything else
// that comes to its queue.
//
// Its unit is packetd.service; docs/operate.md says what each line of it is for, and what
// the messages to systemd mean. SIGTERM ends it in order, and SIGHUP hands the queue over
// to the program as it is on disk by then.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/goipq/goipq/ipq"
)

func decide(p *ipq.Packet) ipq.Verdict {
	switch f := p.Flow(); {
	case f.Unknown: // what the receiver will make of it cannot be told
		return ipq.Drop
	case f.Protocol == syscall.IPPROTO_UDP && (f.DstPort == 9 || f.Fragment): // fragments show no ports
		return ipq.Drop
	}
	return ipq.Accept
}

func main() {
	if err := run(decide); err != nil {
		slog.Error("packetd ends", "err", err)
		os.Exit(1)
	}
}

// run serves the queue until it is told to stop, or has handed it over.
func run(decide ipq.HandlerFunc) error {
	queue := flag.Uint("queue", 0, "number of the queue")
	failOpen := flag.Bool("fail-open", false, "accept what cannot be decided, instead of dropping it")
	timeout := flag.Duration("handler-timeout", time.Second, "how long a packet may take to decide")
	flag.Parse()
	if *queue > math.MaxUint16 {
		return fmt.Errorf("-queue %d: the last is %d", *queue, math.MaxUint16)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)

	s := service{cfg: ipq.Config{
		Queue:          uint16(*queue),
		FailOpen:       *failOpen,
		MaxQueueLen:    4096,     // a hand-over, or a new start after a crash, is to fit into it
		HandlerTimeout: *timeout, // without which a stuck handler would not show in Stats.Stuck
		DrainTimeout:   *timeout,
		Logger:         slog.Default(),
	}}
	if err := s.open(); err != nil {
		return err
	}
	defer s.q.Close()
	done := make(chan error, 1)
	running, end := context.WithCancel(context.Background())
	defer end()
	go func() { done <- s.q.Run(running, decide) }()

	// From here on the queue is bound, and packets are decided. WATCHDOG=1, because the
	// time of a process that is succeeded goes on for its successor.
	s.tell("READY=1\nWATCHDOG=1\nSTATUS=queue %d is bound", s.cfg.Queue)
	return s.watch(ctx, reload, end, done)
}

// A service is the queue, and what becomes of it.
type service struct {
	cfg  ipq.Config
	q    *ipq.Queue
	last ipq.Stats  // at the last look
	next *successor // to hand the queue over to; nil: none
}

// watch tells systemd how the queue is, until Run has returned. It starts a successor when
// it is told to reload, and has Run end when ctx does: one after the other, so that a
// queue that is being handed over is not unbound.
func (s *service) watch(ctx context.Context, reload <-chan os.Signal, end func(), done <-chan error) error {
	look := time.NewTicker(lookEvery())
	defer look.Stop()
	s.last = s.q.Stats()
	stopping := ctx.Done()
	for {
		select {
		case <-look.C:
			s.look()
		case <-reload:
			s.reload()
		case err := <-s.next.answer():
			if err == nil {
				err = errors.Join(s.handOver(), <-done)
				s.log("handed the queue over")
				return err
			}
			s.next = nil
			slog.Error("no hand-over: this process goes on", "err", err)
			s.tell("READY=1\nSTATUS=not reloaded: %v", err)
		case <-stopping:
			s.tell("STOPPING=1")
			s.next.abandon()
			s.next, stopping, reload = nil, nil, nil
			end()
		case err := <-done:
			s.next.abandon()
			s.forget()
			s.log("the end")
			return err
		}
	}
}

// log writes what this process has done.
func (s *service) log(what string) {
	c := s.q.Stats()
	slog.Info(what, "received", c.Received, "accepted", c.Accepted, "dropped", c.Dropped, "timed_out", c.TimedOut, "orphans", c.Orphans)
}

// look tells systemd the counts and, while the queue makes progress, that it is alive.
func (s *service) look() {
	now := s.q.Stats()
	status := fmt.Sprintf("%d packets decided, %d of them dropped; %d lost before they were received",
		now.Verdicts, now.Dropped, now.QueueDropped+now.SocketDropped)
	if alive(&s.last.Counts, &now.Counts) {
		s.tell("WATCHDOG=1\nSTATUS=%s", status)
	} else {
		s.tell("STATUS=stuck: %s", status)
	}
	s.last = now
}

// alive reports whether a queue makes progress: no handler is stuck; what had been
// received at the last look is decided; and if packets waited in the kernel then, some
// have been decided since. (Without the right to read the kernel's table, Waiting is 0.)
// A queue that nothing comes to is alive. The time between two looks must be longer than
// HandlerTimeout, and than any packet is deferred.
func alive(last, now *ipq.Counts) bool {
	return now.Stuck == 0 && now.Verdicts >= last.Received && (last.Waiting == 0 || now.Verdicts > last.Verdicts)
}
