package bypass

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ipq"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// settleOnce asserts that of the packets of p only the first is queued.
func settleOnce(t *testing.T, ns *netlab.NS, b *Bypasser) {
	t.Helper()
	p := newPair(t, ns, "127.0.0.1:0", ns, "127.0.0.1:0")
	q, stop := serve(t, ns, b, ipq.Config{}, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept.Bypass() }))
	for range 5 {
		p.exchange(t)
	}
	stop()
	if s := q.Stats(); s.Received != 1 || s.Bypassed != 1 {
		t.Errorf("%d packets queued, %d bypassed, want 1", s.Received, s.Bypassed)
	}
}

// The lines for iptables do what Install does, and a second process that pins
// to the same place takes over the table that they refer to.
func TestLinesForIptables(t *testing.T) {
	needBPF(t)
	for _, flavour := range []string{"legacy", "nft"} {
		t.Run(flavour, func(t *testing.T) {
			ns := labtest.New(t)
			for _, command := range []string{"iptables", "ip6tables"} {
				labtest.Program(t, command+"-"+flavour)
			}
			dir := t.TempDir()
			inMounts(t, ns, dir, func() {
				cfg := Config{Backend: EBPF, PinDir: dir + "/goipq it's", NetNS: ns.FD(), Size: 100}
				b, err := New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				lines, err := b.Lines(Rules{Hook: ipq.Output, Queue: queueNumber, Match: []Match{
					{Protocol: protoUDP}, {EchoRequest: true, OutDev: "lo"}, {Protocol: protoTCP, Port: 80},
				}})
				if err != nil {
					t.Fatal(err)
				}
				for _, line := range lines {
					line = strings.Replace(line, "tables ", "tables-"+flavour+" ", 1)
					if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
						t.Fatalf("%s: %v\n%s", line, err, out)
					}
				}
				settleOnce(t, ns, b)
				before := mustCount(t, b.Table())
				b.Close()
				if b, err = New(cfg); err != nil {
					t.Fatal(err)
				}
				if got := mustCount(t, b.Table()); got != before || got.AcceptedPackets == 0 {
					t.Errorf("%+v, before %+v", got, before)
				}
				settleOnce(t, ns, b)
				b.Close()
				cfg.Size++
				if _, err := New(cfg); !errors.Is(err, ErrConfig) {
					t.Errorf("another size: %v", err)
				}
				if err := b.Unpin(); err != nil {
					t.Error(err)
				}
			})
			if _, err := os.Stat(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// inMounts runs f on a thread in ns with a BPF file system at dir that nobody
// else sees.
func inMounts(t *testing.T, ns *netlab.NS, dir string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread goes with its mounts
		for _, err := range []error{
			unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("bpf", dir, "bpf", 0, ""),
			unix.Setns(ns.FD(), unix.CLONE_NEWNET),
		} {
			if err != nil {
				t.Error(err)
				return
			}
		}
		f()
	}()
	<-done
}

// The lines for nft do what Install does with connection marks. Where the
// kernel has no queue expression, that one rule is put in otherwise.
func TestLinesForNft(t *testing.T) {
	labtest.Program(t, "nft")
	ns := labtest.New(t)
	b := newBypasser(t, ns, Config{Backend: ConnMark})
	rules := Rules{Hook: ipq.Output, Queue: queueNumber, Match: []Match{
		{Protocol: protoUDP, OutDev: "lo"}, {EchoRequest: true}, {Protocol: protoTCP, Port: 80, Family: familyIPv6},
	}}
	native, err := netlab.ProbeQueueExpr(ns)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := b.Lines(rules)
	if err != nil {
		t.Fatal(err)
	}
	queues := 0
	for _, line := range lines {
		if strings.Contains(line, " counter queue num 11") {
			if queues++; !native {
				addQueue(t, ns, rules)
				continue
			}
		}
		var out []byte
		if err := ns.Do(func() (err error) {
			out, err = exec.Command("sh", "-c", line).CombinedOutput()
			return err
		}); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	if queues != 1 {
		t.Errorf("%d queue rules in %q", queues, lines)
	}
	settleOnce(t, ns, b)
}

func addQueue(t *testing.T, ns *netlab.NS, r Rules) {
	t.Helper()
	nft, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	r.Queues = 1
	table := &nftables.Table{Name: defaultTable, Family: nftables.TableFamilyINet}
	nft.AddRule(&nftables.Rule{Table: table, Chain: &nftables.Chain{Name: chainDecide, Table: table}, Exprs: []expr.Any{r.queue().Expr(false)}})
	if err := nft.Flush(); err != nil {
		t.Fatal(err)
	}
}
