package flood

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

// A flood that is late sends only the latest of what was due, if it is told so,
// and counts the rest: together they are the schedule, turn by turn.
func TestCatchUp(t *testing.T) {
	const (
		rate, count = 50_000, 200
		late        = 50 * time.Millisecond // 2,500 turns
		catchUp     = time.Millisecond      // 50 of them
	)
	ns := labtest.New(t)
	cfg, err := Config{UDP: true, Timed: true, Rate: rate, Count: count, CatchUp: catchUp}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var to, from int
	if err := ns.Do(func() (err error) {
		if to, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		from, err = openSocket(cfg, 1)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(to)
	defer unix.Close(from)
	giveUp(t, to)
	if err := unix.Bind(to, &unix.SockaddrInet4{Port: UDPPort}); err != nil {
		t.Fatal(err)
	}
	c := new(counters)
	s := newSender(cfg, from, 1, c)
	if err := s.begin(); err != nil {
		t.Fatal(err)
	}
	s.start, s.epoch = s.start.Add(-late), s.epoch-int64(late)
	if err := s.runPaced(); err != nil {
		t.Fatal(err)
	}

	sent, refused := c.sent.Load(), c.refused.Load()
	if lag := time.Duration(c.maxLagNanos.Load()); sent != count || lag < late {
		t.Errorf("%d packets were sent, up to %v late; want %d, and %v or more", sent, lag, count, late)
	}
	buf := make([]byte, 2048)
	turns, skipped := make([]uint64, count), uint64(0)
	for range count { // in any order, if the sender has moved between CPUs
		n, _, err := unix.Recvfrom(to, buf, 0)
		if err != nil {
			t.Fatal(err)
		}
		due, ok := parseStamp(buf[:n])
		number := binary.BigEndian.Uint64(buf) & maxSequence
		if !ok || number >= count || turns[number] != 0 {
			t.Fatalf("a datagram of %d bytes, number %d", n, number)
		}
		turns[number] = uint64(math.Round(time.Duration(due-s.epoch).Seconds() * rate))
	}
	for number, turn := range turns {
		before := skipped
		if skipped = turn - uint64(number); turn < uint64(number) || skipped < before {
			t.Fatalf("packet %d has turn %d, after %d were skipped", number, turn, before)
		}
		if most := uint64(late.Seconds()*rate) - uint64(catchUp.Seconds()*rate); skipped < most {
			t.Fatalf("packet %d has turn %d: the flood makes up for more than %v", number, turn, catchUp)
		}
	}
	if skipped != refused || s.turns != sent+refused {
		t.Errorf("%d turns were skipped, %d counted; %d sent of %d turns", skipped, refused, sent, s.turns)
	}
}

// A process that is kept from running is late, and says so.
func TestStoppedFloodIsLate(t *testing.T) {
	const rate, late, catchUp = 50_000, 50 * time.Millisecond, time.Millisecond
	ns := labtest.New(t)
	f := startIn(t, ns, Config{Rate: rate, CatchUp: catchUp})
	waitUntil(t, "its first packets", func() bool { return f.Stats().Sent > 100 })
	pid := f.cmd.Process.Pid
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the process to stop", func() bool { return stopped(t, pid) })
	taken, was := f.TakeMaxLag(), f.Stats().MaxLag
	if taken <= 0 || was != 0 {
		t.Errorf("it was up to %v late, and after that was taken, %v", taken, was)
	}
	began, before := time.Now(), f.Stats()
	waitUntil(t, "a late sender", func() bool { return time.Since(began) > late })
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "more packets", func() bool { return f.Stats().Sent > before.Sent+100 })
	st, err := f.Stop()
	if err != nil {
		t.Fatal(err)
	}
	// One packet may have been on its way when the process was stopped.
	least := uint64(late.Seconds()*rate) - uint64(catchUp.Seconds()*rate) - 1
	if n := st.Refused - before.Refused; n < least || st.MaxLag < late-time.Millisecond {
		t.Errorf("stopped for %v, the flood left %d turns out, want %d or more, and was up to %v late", late, n, least, st.MaxLag)
	}
	if due := uint64(st.Elapsed.Seconds() * rate); st.Sent+st.Refused > due+1 {
		t.Errorf("%d sent and %d refused of %d due", st.Sent, st.Refused, due)
	}
}

// stopped reports whether every thread of a process is stopped.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	tasks, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/stat"))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("process %d has no threads: %v", pid, err)
	}
	for _, task := range tasks {
		stat, err := os.ReadFile(task)
		_, state, _ := strings.Cut(string(stat), ") ") // behind the name
		if err == nil && !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}
