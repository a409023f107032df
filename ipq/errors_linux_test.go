package ipq

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestKernelRefusesATakenQueue(t *testing.T) {
	ns := labtest.New(t)
	first, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	// The second of these is taken; the others must be free again afterwards.
	second, err := Open(Config{Queue: fakeNumber - 1, Queues: 3, NetNS: ns.FD()})
	var taken *TakenError
	var op *OpError
	if second != nil || !errors.As(err, &taken) || !errors.Is(err, syscall.EBUSY) || !errors.As(err, &op) || op.Queue != fakeNumber {
		t.Fatalf("second Open: %v", err)
	}
	if port := first.loops[0].sock.PortID(); netlab.Privileged() && taken.PortID != port {
		t.Errorf("taken by port id %d, want %d", taken.PortID, port)
	}
	third, err := Open(Config{Queue: fakeNumber - 1, NetNS: ns.FD()})
	if err != nil {
		t.Fatalf("a queue that the failed Open had bound: %v", err)
	}
	third.Close()
	first.Close()
	fourth, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD()})
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	fourth.Close()
}

// Conntrack works, or the error names it and nothing else.
func TestKernelRefusesAnUnknownFlag(t *testing.T) {
	ns := labtest.New(t)
	q, err := Open(Config{NetNS: ns.FD(), Conntrack: true, FailOpen: true, GSO: true, UIDGID: true})
	if err == nil {
		q.Close()
		t.Log("this kernel has conntrack attributes")
		return
	}
	var f *FeatureError
	if !errors.As(err, &f) || len(f.Features) != 1 || f.Features[0] != "Conntrack" || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Open: %v", err)
	}
	// Nothing of the refused configuration stays.
	q, err = Open(Config{NetNS: ns.FD(), FailOpen: true})
	if err != nil {
		t.Fatalf("the queue is not free: %v", err)
	}
	q.Close()
}

// helperEnv makes the test binary do one thing and exit.
const helperEnv = "GOIPQ_TEST_HELPER"

// Without CAP_NET_ADMIN the error says so. The capability is dropped in a
// process of its own.
func TestKernelRefusesWithoutCapability(t *testing.T) {
	labtest.Need(t)
	if os.Getenv(helperEnv) == "no capability" {
		dropCapabilities(t)
		_, err := Open(Config{})
		var c *CapabilityError
		if !errors.As(err, &c) || c.Capability != "CAP_NET_ADMIN" || !errors.Is(err, fs.ErrPermission) || errors.As(err, new(*TakenError)) {
			t.Errorf("Open: %v", err)
		}
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKernelRefusesWithoutCapability$", "-test.v")
	cmd.Env = append(os.Environ(), helperEnv+"=no capability")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

// dropCapabilities takes all capabilities from the calling thread, to which it
// locks the goroutine.
func dropCapabilities(t *testing.T) {
	runtime.LockOSThread()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData // version 3 has two words
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		t.Fatal(err)
	}
}
