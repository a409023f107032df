package ipq

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// A Conn takes a queue over from whoever has bound it, and decides what comes.
func TestKernelConnFromFile(t *testing.T) {
	ns := labtest.New(t)
	echoRules(t, ns, fakeNumber, 1)
	q, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	file := fileOf(t, q)
	defer file.Close()
	c, err := ConnFromFile(Config{Queue: fakeNumber}, file)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := q.Detach(); err != nil {
		t.Fatal(err)
	}
	const packets = 3
	f := startFlood(t, ns, flood.Config{Count: packets, Window: packets, Timeout: time.Minute})
	for range packets {
		p, err := c.Read(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Decide(p, Accept); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := f.Wait(); err != nil || s.Replies != packets {
		t.Errorf("flood: %+v, %v", s, err)
	}
}

// A file that is no queue's is an error that says so, and stays the caller's.
func TestKernelConnFromOtherFile(t *testing.T) {
	ns := labtest.New(t)
	q, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	file := fileOf(t, q)
	defer file.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var op *OpError
	if c, err := ConnFromFile(Config{Queue: fakeNumber}, null); c != nil || !errors.As(err, &op) || op.Op != "adopt" {
		t.Errorf("no socket: %v", err)
	}
	if c, err := ConnFromFile(Config{Queue: fakeNumber, Queues: 2}, file); c != nil || !errors.Is(err, ErrConfig) {
		t.Errorf("two queues: %v", err)
	}
	if c, err := ConnFromFile(Config{Queue: fakeNumber + 1}, file); c != nil || !errors.Is(err, ErrUnbound) {
		t.Errorf("another queue: %v", err)
	}
	if _, err := null.Stat(); err != nil {
		t.Errorf("the file is closed: %v", err)
	}
}
