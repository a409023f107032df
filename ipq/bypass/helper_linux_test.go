package bypass

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/nftconn"
	"github.com/goipq/goipq/ipq"
	"golang.org/x/sys/unix"
)

// helperEnv holds, as JSON, what a process that a test started is to do.
const helperEnv = "GOIPQ_BYPASS_TEST_HELPER"

// A firm is a helper that settles a flow and waits to be killed.
type firm struct {
	Flow        ipq.Flow
	Lease       time.Duration
	QueueBypass bool
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
	if _, err := b.Install(Rules{Hook: ipq.Output, Match: udp, Queue: queueNumber, QueueBypass: f.QueueBypass}); err != nil {
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
// on by the table; with one, packets fall to the queue rule. Nobody listens
// there, so that it drops them or, with its bypass flag, lets them go on.
func TestCrash(t *testing.T) {
	for _, f := range []firm{{}, {QueueBypass: true}, {Lease: minLease}, {Lease: minLease, QueueBypass: true}} {
		t.Run(fmt.Sprintf("lease %v, queue bypass %v", f.Lease, f.QueueBypass), func(t *testing.T) {
			needBPF(t)
			ns := labtest.New(t)
			p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
			f.Flow = p.flow()
			helper := f.start(t, ns)
			p.deliver(t)
			helper.Process.Kill()
			helper.Wait()
			queued := func() uint64 {
				rules, err := nft(t, ns).Rules(unix.NFPROTO_INET, defaultTable)
				rules = slices.DeleteFunc(rules, func(r nftconn.Rule) bool { return r.Chain != chainDecide })
				if err != nil || len(rules) != 2 {
					t.Fatal(rules, err)
				}
				return rules[1].Packets
			}
			if f.Lease == 0 {
				before := queued()
				for range 10 {
					p.exchange(t)
				}
				if n := queued() - before; n != 0 {
					t.Errorf("%d packets came to the queue rule", n)
				}
				return
			}
			for began, before := time.Now(), queued(); queued() == before; p.delivered(t) {
				if time.Since(began) > patience {
					t.Fatal("the lease never ends")
				}
			}
			if f.QueueBypass {
				p.exchange(t)
			} else if p.delivered(t) {
				t.Error("delivered, though nobody listens on the queue")
			}
		})
	}
}

// delivered sends a message, and reports whether it arrives soon. What arrives
// later is not taken for another.
func (p *pair) delivered(t *testing.T) bool {
	t.Helper()
	p.sent++
	text := fmt.Sprint("message ", p.sent)
	send(t, p.a, p.b, text)
	p.b.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	for b := make([]byte, 64); ; {
		n, err := p.b.Read(b)
		if err != nil || string(b[:n]) == text {
			return err == nil
		}
	}
}

// deliver sends messages until one is delivered: a process that does not
// get to run cannot renew its lease, and then loses some.
func (p *pair) deliver(t *testing.T) {
	t.Helper()
	for began := time.Now(); !p.delivered(t); {
		if time.Since(began) > patience {
			t.Fatal("nothing is delivered")
		}
	}
}

// leaseEnd returns when the lease ends, by the kernel's clock.
func leaseEnd(t *testing.T, b *Bypasser) (nanos uint64) {
	t.Helper()
	if err := b.Table().objects.lease.Lookup(uint32(0), &nanos); err != nil {
		t.Fatal(err)
	}
	return nanos
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
		p.deliver(t)
		for last, renewals := leaseEnd(t, b), 0; lease != 0 && renewals < 5; renewals++ {
			now := last
			for began := time.Now(); now == last; now = leaseEnd(t, b) {
				if time.Since(began) > patience {
					t.Fatalf("the lease was renewed %d times", renewals)
				}
			}
			if now < last {
				t.Errorf("the lease went back by %d ns", last-now)
			}
			last = now
			p.deliver(t)
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
