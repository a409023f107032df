//go:build race

package ipq

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
)

// The race detector reports a handler that lets a packet, or its payload,
// outlive its return. The offence is committed in a process of its own.
func TestKeptPacketsAreReported(t *testing.T) {
	offence := os.Getenv(helperEnv)
	if strings.HasPrefix(offence, "keep") {
		keepPacket(t, offence == "keep payload", Inline)
		keepPacket(t, offence == "keep payload", 2)
		return
	}
	for _, offence := range []string{"keep packet", "keep payload"} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestKeptPacketsAreReported$")
		cmd.Env = append(os.Environ(), helperEnv+"="+offence, "GORACE=halt_on_error=0 atexit_sleep_ms=0")
		out, err := cmd.CombinedOutput()
		if n := strings.Count(string(out), "WARNING: DATA RACE"); err == nil || n < 2 {
			t.Errorf("%s: %d reports, want one in each mode: %v\n%s", offence, n, err, out)
		}
	}
}

func keepPacket(t *testing.T, payload bool, workers int) {
	f := newFake(t)
	var sum byte
	kept := make(chan *Packet, 1)
	bytes := make(chan []byte, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if payload {
			for _, c := range <-bytes {
				sum += c
			}
			return
		}
		sum = byte((<-kept).ID())
	}()
	_, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict {
		if payload {
			bytes <- p.Payload()
		} else {
			kept <- p
		}
		return Accept
	})
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, []byte("text"))}))
	<-done
	stop()
	t.Log(sum)
}
