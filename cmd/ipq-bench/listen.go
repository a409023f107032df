package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/goipq/goipq/internal/metrics"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/ipq"
)

// envListener tells the process that netlab.Enter starts which descriptor is the
// listener of -listen.
const envListener = "IPQ_BENCH_LISTENER"

// listen returns the listener of -listen. It is called before netlab.Enter, in both
// processes: the first opens it, in the namespace that whoever scrapes is in, and the
// second, which is about to be in a private one, has it from the first.
func listen(addr string) (net.Listener, error) {
	if text, ok := os.LookupEnv(envListener); ok {
		os.Unsetenv(envListener)
		fd, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("-listen: %w", err)
		}
		f := os.NewFile(uintptr(fd), "listener")
		defer f.Close() // the floods have no use for it
		return net.FileListener(f)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("-listen: %w", err)
	}
	if !netlab.Inside() {
		fd, err := inheritable(ln.(*net.TCPListener))
		if err != nil {
			return nil, fmt.Errorf("-listen: %w", err)
		}
		os.Setenv(envListener, strconv.Itoa(fd))
	}
	return ln, nil
}

// An exporter serves what the queue counts that is measured, or was last. A nil one
// does nothing.
type exporter struct {
	queue  atomic.Pointer[ipq.Queue]
	server http.Server
}

// export serves at /metrics until close.
func export(ln net.Listener) *exporter {
	x := new(exporter)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", x.metrics)
	x.server = http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	x.server.SetKeepAlivesEnabled(false) // a soak counts descriptors
	go x.server.Serve(ln)                // until it is closed
	return x
}

func (x *exporter) metrics(w http.ResponseWriter, _ *http.Request) {
	var sources []metrics.Source
	if q := x.queue.Load(); q != nil {
		sources = append(sources, q)
	}
	w.Header().Set("Content-Type", metrics.TextType)
	_ = metrics.WriteText(w, sources) // fails only when the client has gone
}

// show has the exporter serve another queue from now on; with nil it stays as it is.
func (x *exporter) show(q *ipq.Queue) {
	if x != nil && q != nil {
		x.queue.Store(q)
	}
}

func (x *exporter) close() {
	if x != nil {
		_ = x.server.Close() // nobody waits for what is under way
	}
}
