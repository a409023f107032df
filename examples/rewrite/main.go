// Rewrite replaces a word by another one of the same length in the TCP connections of a
// port, in place: whole super-packets of up to 64 KiB are changed at once, and their
// checksums follow. It makes its own rules, at the output hook, and removes them when it is
// interrupted.
//
// A word that two packets share is not found. For that there is package ipq/stream.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/rules"
)

func main() {
	word := flag.String("word", "secret", "word to replace")
	by := flag.String("by", "xxxxxx", "what stands in its place, of the same length")
	port := flag.Uint("port", 80, "port of the servers")
	flag.Parse()
	if len(*word) == 0 || len(*word) != len(*by) || *port > 65535 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w := &rewriter{word: []byte(*word), by: []byte(*by)}
	if err := w.serve(ctx, uint16(*port)); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d replaced\n", w.replaced.Load())
}

type rewriter struct {
	word, by []byte
	replaced atomic.Uint64
}

// HandlePacket implements [ipq.Handler].
func (w *rewriter) HandlePacket(p *ipq.Packet) ipq.Verdict {
	if !bytes.Contains(p.Payload(), w.word) {
		return ipq.Accept
	}
	h := p.Transport()
	if len(h) < 20 { // a fragment, or headers that lead nowhere
		return ipq.Accept
	}
	header := min(int(h[12]>>4)*4, len(h)) // TCP's, with its options
	data := len(p.Payload()) - len(h) + header
	b, err := p.EditPayload()
	if err != nil {
		log.Print(err)
		return ipq.Drop
	}
	for b = b[data:]; ; b = b[len(w.word):] {
		i := bytes.Index(b, w.word)
		if i < 0 {
			return ipq.Accept
		}
		b = b[i:]
		copy(b, w.by)
		w.replaced.Add(1)
	}
}

// serve serves the queue until ctx ends.
func (w *rewriter) serve(ctx context.Context, port uint16) (err error) {
	q, err := ipq.Open(ipq.Config{Queue: 0, GSO: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	ports := []rules.PortRange{{First: port, Last: port}}
	// Of a packet the kernel copies 65531 bytes at the most, and one on the loopback
	// device may have more.
	not := rules.Match{OutDevs: []string{"lo"}}
	r, err := rules.Install(rules.Set{
		Table: "rewrite",
		Chains: []rules.Chain{{Hook: ipq.Output, Rules: []rules.Rule{
			{Match: rules.Match{Protocol: syscall.IPPROTO_TCP, DstPorts: ports}, Not: not, Queue: &rules.Queue{}},
			{Match: rules.Match{Protocol: syscall.IPPROTO_TCP, SrcPorts: ports}, Not: not, Queue: &rules.Queue{}},
		}}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Remove()) }()
	fmt.Println("rewriting")
	return q.Run(ctx, w)
}
