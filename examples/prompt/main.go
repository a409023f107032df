// Prompt asks on the terminal whether this host may open a connection, each time that one
// of its programs is about to, and holds that connection back until there is an answer.
// What is open already goes on, and so does what was allowed. It makes its own rule, at
// the output hook, and removes it when it is interrupted.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/rules"
)

const (
	queue = 0
	// patience is how long there may be no answer. A host tries to open a TCP connection
	// for about two minutes.
	patience = time.Minute
	// mostQuestions may wait for an answer. Connections beyond are refused.
	mostQuestions = 100
)

// set queues the first packets of connections, until one was accepted.
var set = rules.Set{
	Table: "prompt",
	Chains: []rules.Chain{{
		Hook: ipq.Output,
		Rules: []rules.Rule{{
			Match: rules.Match{CTState: rules.New},
			Queue: &rules.Queue{First: queue},
		}},
	}},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := prompt(ctx, os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// prompt serves the queue until ctx or the input ends.
func prompt(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	q, err := ipq.Open(ipq.Config{Queue: queue, Workers: ipq.Inline, DeferTimeout: patience})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	r, err := rules.Install(set)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Remove()) }()

	ctx, cancel := context.WithCancel(ctx)
	a := newAsker()
	go func() {
		defer cancel()
		a.ask(in, out)
	}()
	fmt.Fprintln(out, "waiting for connections")
	return q.Run(ctx, a)
}

// An asker holds packets back until somebody has said what becomes of their connection.
type asker struct {
	questions chan ipq.Flow

	mu   sync.Mutex
	held map[ipq.Flow][]*ipq.Deferred // packets of those that were not answered yet
}

func newAsker() *asker {
	return &asker{questions: make(chan ipq.Flow, mostQuestions), held: map[ipq.Flow][]*ipq.Deferred{}}
}

// HandlePacket implements [ipq.Handler]. What it returns for a packet that is held back is
// its verdict if there is no answer in time.
func (a *asker) HandlePacket(p *ipq.Packet) ipq.Verdict {
	flow := p.Flow()
	a.mu.Lock()
	defer a.mu.Unlock()
	held, asked := a.held[flow] // a host that hears nothing sends its first packet again
	if !asked && len(a.held) == mostQuestions {
		return ipq.Reject
	}
	d, err := p.Defer()
	if err != nil { // too many are held back
		return ipq.Drop
	}
	a.held[flow] = append(held, d)
	if !asked {
		a.questions <- flow // which has room for all
	}
	return ipq.Drop
}

// ask asks one question after the other, until the input ends.
func (a *asker) ask(in io.Reader, out io.Writer) {
	answers := bufio.NewScanner(in)
	for flow := range a.questions {
		fmt.Fprintf(out, "%v: y to allow it, or else nothing:\n", flow)
		if !answers.Scan() {
			return
		}
		v := ipq.Reject
		if answers.Text() == "y" {
			v = ipq.Accept
		}
		a.answer(flow, v, out)
	}
}

// answer decides what is held back of a connection.
func (a *asker) answer(flow ipq.Flow, v ipq.Verdict, out io.Writer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.held[flow] {
		switch err := d.Verdict(v); {
		case errors.Is(err, ipq.ErrExpired):
			fmt.Fprintf(out, "%v: too late\n", flow)
		case err != nil:
			fmt.Fprintln(out, err)
		}
	}
	delete(a.held, flow)
}
