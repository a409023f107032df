package bypass

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
)

// helperEnv holds, as JSON, what a process that a test started is to do.
const helperEnv = "GOIPQ_BYPASS_TEST_HELPER"

// A firm is a helper that settles a flow and waits to be killed.
type firm struct {
	Flow  ipq.Flow
	Lease time.Duration
}

func helperMain() {
	what := os.Getenv(helperEnv)
	if what == "" {
		return
	}
	var f firm
	if err := json.Unmarshal([]byte(what), &f); err != nil {
		panic(err)
	}
	b, err := New(Config{Backend: EBPF, Lease: f.Lease})
	if err != nil {
		panic(err)
	}
	if _, err := b.Install(Rules{Hook: ipq.Output, Match: udp, Queue: queueNumber}); err != nil {
		panic(err)
	}
	if err := b.Table().Insert(f.Flow, ipq.Accept, Limits{}); err != nil {
		panic(err)
	}
	fmt.Println("settled")
	select {}
}

// start runs the helper in ns, and returns it when it has settled the flow.
func (f firm) start(t *testing.T, ns *netlab.NS) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	what, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperEnv+"="+string(what))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "settled\n" {
		t.Fatalf("helper: %q, %v", line, err)
	}
	return cmd
}

// When the program is killed, its rules stay. Without a lease the kernel goes
// on by the table; with one, packets fall to the queue, where nobody listens.
func TestCrash(t *testing.T) {
	for _, lease := range []time.Duration{0, 200 * time.Millisecond} {
		t.Run(fmt.Sprint("lease ", lease), func(t *testing.T) {
			needBPF(t)
			ns := labtest.New(t)
			p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
			helper := firm{p.flow(), lease}.start(t, ns)
			for range 3 {
				p.exchange(t)
			}
			helper.Process.Kill()
			helper.Wait()
			if lease == 0 {
				for range 10 {
					p.exchange(t)
				}
				return
			}
			for began := time.Now(); ; {
				send(t, p.a, p.b, "still there?")
				p.b.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if _, err := p.b.Read(make([]byte, 64)); err != nil {
					return // dropped by the queue rule
				}
				if time.Since(began) > patience {
					t.Fatal("the lease never ends")
				}
			}
		})
	}
}

// A lease is renewed while the Bypasser lives, and ends with Close, while rules
// that refer to the programs work on.
func TestCloseEndsTheLease(t *testing.T) {
	needBPF(t)
	ns := labtest.New(t)
	for _, lease := range []time.Duration{0, minLease} {
		b, err := New(Config{Backend: EBPF, NetNS: ns.FD(), Lease: lease})
		if err != nil {
			t.Fatal(err)
		}
		set := install(t, b, Rules{Hook: ipq.Output, Match: udp})
		p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
		if err := b.Table().Insert(p.flow(), ipq.Accept, Limits{}); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); time.Since(began) < 3*lease; { // some renewals
			p.exchange(t)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if lease == 0 {
			p.exchange(t)
		}
		// Nobody listened until now.
		received := make(chan struct{}, 1)
		_, stop := serve(t, ns, nil, ipq.Config{}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict {
			received <- struct{}{}
			return ipq.Accept
		}))
		send(t, p.a, p.b, "after Close")
		receive(t, p.b)
		stop()
		if queued := len(received) == 1; queued != (lease != 0) {
			t.Errorf("lease %v: queued %v after Close", lease, queued)
		}
		if err := set.Remove(); err != nil {
			t.Fatal(err)
		}
	}
}
