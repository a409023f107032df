package main

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/goipq/goipq/examples/internal/extest"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestMain(m *testing.M) { extest.Main(m, main) }

// A connection waits for its answer, and is opened or refused by it; one that is open
// goes on meanwhile.
func TestAnswers(t *testing.T) {
	ns := labtest.New(t)
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l := listen(t, ns, addr)
		p := extest.Start(t, ns)
		p.WaitFor(t, "waiting for connections")

		allowed := dial(t, ns, l)
		p.WaitFor(t, l.Addr().String()+": y to allow it")
		allowed.pending(t)
		p.Type(t, "y")
		conn := allowed.opened(t)
		talk(t, conn, l)

		refused := dial(t, ns, l)
		p.WaitFor(t, "y to allow it")
		refused.pending(t)
		talk(t, conn, l)
		p.Type(t, "n")
		if r := <-refused.result; !errors.Is(r.err, syscall.ECONNREFUSED) {
			t.Errorf("%s: refused: %v, %v", addr, r.conn, r.err)
		}
		talk(t, conn, l)
		p.Interrupt(t)

		free := dial(t, ns, l)
		free.opened(t) // the rule is gone
	}
}

// When nobody can answer any more, the program ends, and with it its rule.
func TestEndOfInput(t *testing.T) {
	ns := labtest.New(t)
	l := listen(t, ns, "127.0.0.1:0")
	p := extest.Start(t, ns)
	p.WaitFor(t, "waiting for connections")
	d := dial(t, ns, l)
	p.WaitFor(t, "y to allow it")
	p.CloseInput(t)
	p.End(t)
	d.opened(t) // the host has tried again
}

func listen(t *testing.T, ns *netlab.NS, addr string) (l net.Listener) {
	t.Helper()
	if err := ns.Do(func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// A dialling is a connection that is being opened.
type dialling struct{ result chan dialled }

type dialled struct {
	conn net.Conn
	err  error
}

func dial(t *testing.T, ns *netlab.NS, l net.Listener) dialling {
	d := dialling{make(chan dialled, 1)}
	go func() {
		var r dialled
		err := ns.Do(func() error {
			r.conn, r.err = net.Dial("tcp", l.Addr().String())
			return nil
		})
		r.err = errors.Join(r.err, err)
		d.result <- r
	}()
	return d
}

func (d dialling) pending(t *testing.T) {
	t.Helper()
	select {
	case r := <-d.result:
		t.Fatalf("before the answer: %v, %v", r.conn, r.err)
	default:
	}
}

func (d dialling) opened(t *testing.T) net.Conn {
	t.Helper()
	r := <-d.result
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { r.conn.Close() })
	return r.conn
}

// talk sends a byte each way, over the connection that was the first to be accepted.
func talk(t *testing.T, client net.Conn, l net.Listener) {
	t.Helper()
	server, ok := accepted[client]
	if !ok {
		var err error
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		accepted[client] = server
	}
	for _, c := range [][2]net.Conn{{client, server}, {server, client}} {
		c[1].SetReadDeadline(time.Now().Add(2 * time.Minute)) // only reached by a failure
		if _, err := c[0].Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c[1].Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

var accepted = map[net.Conn]net.Conn{}
