package ipq

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// A process takes a queue over from another under a flood, of which no packet
// is lost. (Replies do not tell the order: loopback may change it by itself.)
func TestKernelHandOver(t *testing.T) {
	if os.Getenv(helperEnv) == "take over" {
		if err := takeOver(); err != nil {
			t.Fatal(err)
		}
		return
	}
	eachMode(t, func(t *testing.T, workers int) {
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

		next := startSuccessor(t, q, workers)
		f := startFlood(t, ns, flood.Config{Count: count, Window: 64, Flows: 1, Timeout: 20 * time.Second})
		<-half
		if err := q.Detach(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		next.run()
		sent, err := f.Wait()
		if err != nil || sent.Sent != count || sent.Replies != count || sent.Lost+sent.Late+sent.Duplicates+sent.Dropped != 0 {
			t.Errorf("flood: %+v, %v", sent, err)
		}
		before, after := q.Stats(), next.end()
		if before.Received < count/2 || after == 0 || before.Received+after != count || before.Verdicts != before.Received {
			t.Errorf("the old process decided %d packets and the new one %d, want %d", before.Verdicts, after, count)
		}
		if c, err := rules.Counters(); err != nil || c[0].Packets != count {
			t.Errorf("%+v queued, %v", c, err)
		}
	})
}

// A successor is the process that takes a queue over.
type successor struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// startSuccessor returns when the process is ready to run the queue.
func startSuccessor(t *testing.T, q *Queue, workers int) *successor {
	t.Helper()
	file, err := q.File(0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := &successor{t: t, cmd: exec.Command("/proc/self/exe", "-test.run=^TestKernelHandOver$")}
	s.cmd.Env = append(os.Environ(), helperEnv+"=take over", fmt.Sprintf("GOIPQ_TEST_WORKERS=%d", workers), "GORACE=atexit_sleep_ms=0")
	s.cmd.ExtraFiles = []*os.File{file}
	s.cmd.Stderr = os.Stderr
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	t.Cleanup(func() { s.stdin.Close() })
	if line, err := s.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the new process said %q, %v", line, err)
	}
	return s
}

// run has the process run the queue.
func (s *successor) run() { fmt.Fprintln(s.stdin, "run") }

// end ends the process and returns how many packets it decided.
func (s *successor) end() (decided uint64) {
	s.t.Helper()
	s.stdin.Close()
	if _, err := fmt.Fscanf(s.out, "decided %d\n", &decided); err != nil {
		s.t.Error(err)
	}
	if _, err := io.Copy(io.Discard, s.out); err != nil {
		s.t.Error(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Error(err)
	}
	return decided
}

// takeOver is the new process, in a namespace of its own: descriptor 3 is the
// socket.
func takeOver() error {
	var workers int
	if _, err := fmt.Sscan(os.Getenv("GOIPQ_TEST_WORKERS"), &workers); err != nil {
		return err
	}
	q, err := FromFile(Config{Queue: fakeNumber, Workers: workers}, os.NewFile(3, "socket"))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = in.ReadByte() // until the end
		cancel()
	}()
	err = errors.Join(q.Run(ctx, accept), q.Close())
	if s := q.Stats(); s.Verdicts == s.Received {
		fmt.Println("decided", s.Verdicts)
	}
	return err
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
