package ipq

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// A process takes a queue over from another under a flood, of which no packet
// is lost. (Replies do not tell the order: loopback may change it by itself.)
func TestKernelHandOver(t *testing.T) {
	for _, m := range modes {
		if os.Getenv(helperEnv) == m.name {
			takeOver(t, m.workers)
			return
		}
	}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { handOver(t, m.name, m.workers) })
	}
}

func handOver(t *testing.T, mode string, workers int) {
	const count = 100_000
	ns := labtest.New(t)
	rules := echoRules(t, ns, fakeNumber, 1)
	q, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	half := make(chan struct{})
	handled := 0 // by one flow's handler at a time: there is one flow
	done := make(chan error, 1)
	go func() {
		done <- q.Run(context.Background(), HandlerFunc(func(*Packet) Verdict {
			if handled++; handled == count/2 {
				close(half)
			}
			return Accept
		}))
	}()

	file := fileOf(t, q)
	defer file.Close()
	next := startChild(t, ns, mode, file)
	next.hear("ready")
	f := startFlood(t, ns, flood.Config{Count: count, Window: 64, Flows: 1, Timeout: time.Minute})
	<-half
	if err := q.Detach(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	next.say("run")
	sent, err := f.Wait()
	if err != nil || sent.Sent != count || sent.Replies != count || sent.Lost+sent.Late+sent.Duplicates+sent.Dropped != 0 {
		t.Errorf("flood: %+v, %v", sent, err)
	}
	next.say("end")
	before, after, received := q.Stats(), uint64(0), uint64(0)
	next.hear("decided %d of %d", &after, &received)
	next.end()
	if before.Received < count/2 || after == 0 || after != received || before.Received+after != count || before.Verdicts != before.Received {
		t.Errorf("the old process decided %d packets and the new one %d of %d, want %d", before.Verdicts, after, received, count)
	}
	if c, err := rules.Counters(); err != nil || c[0].Packets != count {
		t.Errorf("%+v queued, %v", c, err)
	}
}

// takeOver is the new process.
func takeOver(t *testing.T, workers int) {
	q, err := FromFile(Config{Queue: fakeNumber, Workers: workers}, os.NewFile(childFiles, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel, done := startRun(q, accept)
	_, _ = in.ReadString('\n') // until the end
	cancel()
	if err := errors.Join(<-done, q.Close()); err != nil {
		t.Fatal(err)
	}
	s := q.Stats()
	fmt.Println("decided", s.Verdicts, "of", s.Received)
}

// What is no socket of the queue is refused.
func TestKernelFromFileChecksTheFile(t *testing.T) {
	ns := labtest.New(t)
	fds := descriptors(t)
	q, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline})
	if err != nil {
		t.Fatal(err)
	}
	file, err := q.File(0)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := q.File(1); f != nil || !errors.Is(err, os.ErrInvalid) {
		t.Errorf("File(1) of one queue: %v", err)
	}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	other, err := udp.File()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline}
	for what, f := range map[string]*os.File{"a UDP socket": other, "no socket": null} {
		if q, err := FromFile(cfg, f); q != nil || !errors.As(err, new(*OpError)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if q, err := FromFile(cfg); q != nil || !errors.Is(err, os.ErrInvalid) {
		t.Errorf("no file: %v", err)
	}
	wrong := cfg
	wrong.Queue++
	if _, err := ns.QueueStats(); err == nil {
		if q, err := FromFile(wrong, file); q != nil || !errors.Is(err, ErrUnbound) {
			t.Errorf("a queue that is not bound: %v", err)
		}
	}
	q.Close()
	if f, err := q.File(0); f != nil || !errors.Is(err, ErrClosed) {
		t.Errorf("File after Close: %v", err)
	}
	for _, c := range []io.Closer{file, other, null, udp} {
		c.Close()
	}
	settle(t, "descriptors", fds, func() int { return descriptors(t) })
}
