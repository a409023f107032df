package ipq

import (
	"bufio"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// A program that is killed under a flood (kill -9) stalls nobody, if the rule has
// "bypass": what was queued at that moment is dropped, and what comes afterwards
// goes on. Without "bypass", nothing passes any more.
func TestKernelKilledUnderFlood(t *testing.T) {
	if mode := os.Getenv(helperEnv); mode != "" {
		serveUntilKilled(t, mode)
		return
	}
	t.Parallel()
	const window = 256
	for _, bypass := range []bool{true, false} {
		for _, m := range modes {
			t.Run(fmt.Sprintf("bypass %v, %s", bypass, m.name), func(t *testing.T) {
				ns := labtest.New(t)
				if _, err := ns.InstallQueue(netlab.Rule{
					Hook: netlab.Output, Match: netlab.Match{EchoRequest: true}, Queue: fakeNumber, Bypass: bypass,
				}); err != nil {
					t.Fatal(err)
				}
				c := startChild(t, ns, m.name)
				c.hear("ready")
				f := startFlood(t, ns, flood.Config{Window: window, Timeout: time.Second})
				c.hear("busy")
				if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				if err := c.cmd.Wait(); err == nil || c.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("the process ended by %v", err)
				}
				at := f.Stats()
				if !bypass {
					if s := runQuick(t, ns, 100); s.Replies+s.Late != 0 {
						t.Errorf("fail closed: %+v", s)
					}
					return
				}
				if s := runFlood(t, ns, flood.Config{Count: 5000, Window: 16}); s.Replies != 5000 || s.Lost != 0 {
					t.Errorf("after the end: %+v", s)
				}
				await(t, "the flood to go on", func() bool { return f.Stats().Replies > at.Replies+5000 })
				// A late answer, on a busy machine, is to one that counts as lost. So does
				// what was under way as the flood was stopped.
				if s, err := f.Stop(); err != nil || s.Lost-s.Late > 2*window {
					t.Errorf("the flood lost more than was under way: %+v, %v", s, err)
				}
			})
		}
	}
}

// serveUntilKilled is the process that is killed.
func serveUntilKilled(t *testing.T, mode string) {
	workers := 0
	for _, m := range modes {
		if m.name == mode {
			workers = m.workers
		}
	}
	handled := 0 // of the first flow
	_, stop := serve(t, Config{Queue: fakeNumber, NetNS: childNetNS, Workers: workers}, HandlerFunc(func(p *Packet) Verdict {
		if p.Flow().Dst.As4()[3] == 0 {
			if handled++; handled == 50 { // of 256 flows
				fmt.Println("busy")
			}
		}
		return Accept
	}))
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until the end
	stop()
}
