package ipq

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// kernelCounters are what Stats tells of the kernel's.
type kernelCounters struct {
	known                                          bool
	waiting, queueDropped, socketDropped, sequence uint64
}

// checkKernelStats compares what Stats tells from the kernel's tables. Of a
// namespace whose table of queues is hidden it tells the socket's losses.
func checkKernelStats(t *testing.T, ns *netlab.NS, what string, s Stats, want kernelCounters) {
	t.Helper()
	if _, err := ns.QueueStats(); errors.Is(err, fs.ErrPermission) {
		want = kernelCounters{socketDropped: want.socketDropped}
	} else {
		want.known = true
	}
	if got := (kernelCounters{s.KernelKnown, s.Waiting, s.QueueDropped, s.SocketDropped, s.Sequence}); got != want {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

// What finds the queue full is counted, before, during and after Run.
func TestKernelCountsWhatTheQueueDrops(t *testing.T) {
	const sent, room = 100, 10
	ns := labtest.New(t)
	q := sendUnserved(t, ns, Config{MaxQueueLen: room}, sent, "text")
	want := kernelCounters{queueDropped: sent - room, waiting: room, sequence: room} // what is dropped gets no id
	checkKernelStats(t, ns, "before Run", q.Stats(), want)
	drain(t, q)
	want.waiting = 0
	checkKernelStats(t, ns, "after Run", q.Stats(), want)
	q.Close()
	checkKernelStats(t, ns, "after Close", q.Stats(), want)
}

// What does not fit into the socket is counted.
func TestKernelCountsWhatTheSocketDrops(t *testing.T) { countSocketDrops(t, labtest.New(t)) }

func countSocketDrops(t *testing.T, ns *netlab.NS) {
	const sent = 100
	// Room for ten of the smallest messages, which count 832 bytes each.
	q := sendUnserved(t, ns, Config{ReadBuffer: 8320}, sent, "text")
	// Port ids are per family: the kernel gives a process's first socket of each
	// the same, so there is another with that of the queue.
	file := fileOf(t, q)
	defer file.Close()
	own, err := unix.Getsockname(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	other, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: ns.FD(), PID: own.(*unix.SockaddrNetlink).Pid})
	if err == nil {
		defer other.Close()
	} else if !errors.Is(err, unix.EADDRINUSE) { // which the queue's own, for routes, may have
		t.Fatal(err)
	}
	before := q.Stats()
	drain(t, q)
	after := q.Stats()
	if after.Received == 0 || after.Received+before.SocketDropped != sent || after.Overruns != 0 {
		t.Errorf("of %d packets %d were received, %d did not fit", sent, after.Received, before.SocketDropped)
	}
	want := kernelCounters{socketDropped: sent - after.Received, waiting: after.Received, sequence: sent} // what is lost had an id
	checkKernelStats(t, ns, "before Run", before, want)
	want.waiting = 0
	checkKernelStats(t, ns, "after Run", after, want)
}

// The kernel hides its table of queues in the namespace that comes with a new
// user namespace. What can be known is right then, and the rest is said to be
// unknown.
func TestKernelStatsOfAnOrdinaryUser(t *testing.T) {
	labtest.Need(t)
	ns, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if _, err := ns.QueueStats(); errors.Is(err, fs.ErrPermission) {
		if err := ns.SetUp("lo"); err != nil {
			t.Fatal(err)
		}
		countSocketDrops(t, ns)
		return
	}
	if os.Getenv(helperEnv) != "" {
		t.Fatal("the table of queues is not hidden")
	}
	// For root there is such a user in a process of its own.
	const nobody = 65534
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKernelStatsOfAnOrdinaryUser$", "-test.v")
	cmd.Env = append(os.Environ(), helperEnv+"=ordinary user", "GORACE=atexit_sleep_ms=0")
	mapping := []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: mapping, GidMappings: mapping, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{}, // root in there, and in none of root's groups out here
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

// After an unbinding that left packets undecided, none waits any more.
func TestKernelQueueIsEmptyOnceUnbound(t *testing.T) {
	ns := labtest.New(t)
	q := sendUnserved(t, ns, Config{}, 3, "text")
	if err := q.loops[0].sock.Unbind(); err != nil {
		t.Fatal(err)
	}
	checkKernelStats(t, ns, "unbound", q.Stats(), kernelCounters{sequence: 3})
}

// The options without which an overrun loses more than it must, and errors
// bring payloads back.
func TestKernelSocketOptions(t *testing.T) {
	ns := labtest.New(t)
	q, err := Open(Config{NetNS: ns.FD(), Workers: Inline})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	file := fileOf(t, q)
	defer file.Close()
	for what, option := range map[string]int{"NETLINK_NO_ENOBUFS": unix.NETLINK_NO_ENOBUFS, "NETLINK_CAP_ACK": unix.NETLINK_CAP_ACK} {
		if on, err := unix.GetsockoptInt(int(file.Fd()), unix.SOL_NETLINK, option); err != nil || on != 1 {
			t.Errorf("%s is %d, %v", what, on, err)
		}
	}
}

// The socket is sized so that a queue of MaxQueueLen fits, whatever its packets.
func TestKernelQueueFitsIntoTheSocket(t *testing.T) {
	const maxLen = 60 // full frames beyond 90 fill the send buffer of their socket, and block it
	frame := strings.Repeat("x", 1472)
	for _, x := range []struct {
		what string
		cfg  Config
		text string
	}{
		{"small packets", Config{}, "text"}, {"full frames", Config{}, frame},
		{"metadata", Config{Copy: CopyMeta}, frame}, {"the first bytes", Config{SnapLen: 64}, frame},
	} {
		ns := labtest.New(t)
		x.cfg.MaxQueueLen = maxLen
		q := sendUnserved(t, ns, x.cfg, maxLen, x.text)
		checkKernelStats(t, ns, x.what, q.Stats(), kernelCounters{waiting: maxLen, sequence: maxLen})
		drain(t, q)
		if s := q.Stats(); s.Received != maxLen {
			t.Errorf("%s: %d received", x.what, s.Received)
		}
	}
}

// Tables that are longer than the buffer they are read into are read to the
// end.
func TestKernelTablesAreReadWhole(t *testing.T) {
	const queues = 100 // a line has some 50 bytes, and the buffer 4096
	ns := labtest.New(t)
	q, err := Open(Config{Queue: 1, Queues: queues, NetNS: ns.FD(), Workers: Inline, BatchSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	checkKernelStats(t, ns, "idle", q.Stats(), kernelCounters{})
	if _, err := ns.QueueStats(); err != nil {
		return
	}
	for _, l := range q.loops {
		if k := l.sock.Counters(); !k.Known {
			t.Errorf("queue %d is not found in the table", l.sock.Queue())
		}
	}
}

// What the kernel has counted is known after Close, also without a Run.
func TestKernelCountsOutliveClose(t *testing.T) {
	ns := labtest.New(t)
	q := sendUnserved(t, ns, Config{MaxQueueLen: 2}, 5, "text")
	q.Close()
	checkKernelStats(t, ns, "after Close", q.Stats(), kernelCounters{queueDropped: 3, sequence: 2})
}
