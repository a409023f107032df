package ipq

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// fakeTables has a socket read the kernel's tables from files, which set
// writes.
func fakeTables(t *testing.T, s *socket) (set func(queues, sockets string)) {
	t.Helper()
	dir := t.TempDir()
	var files [2]string
	for i, f := range []**os.File{&s.proc.queues, &s.proc.sockets} {
		files[i] = filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(files[i], nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if *f, err = os.Open(files[i]); err != nil {
			t.Fatal(err)
		}
	}
	return func(queues, sockets string) {
		t.Helper()
		for i, text := range []string{queues, sockets} {
			if err := os.WriteFile(files[i], []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// queueLine is one of /proc/net/netfilter/nfnetlink_queue.
func queueLine(owner uint32, waiting, queueDropped, socketDropped, sequence uint32) string {
	return fmt.Sprintf("%5d %6d %5d 2 65531 %5d %5d %8d  1\n", fakeNumber, owner, waiting, queueDropped, socketDropped, sequence)
}

// socketLine is one of /proc/net/netlink, behind its heading.
func socketLine(owner uint32, drops int32) string {
	return "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n" +
		fmt.Sprintf("0000000000000000 12  %-10d 00000000 0        0        0     2        %-8d 12345\n", owner, drops)
}

// The kernel's counters wrap at 2^32; those of Stats go on.
func TestKernelCountersGoOnWhereTheKernelsWrap(t *testing.T) {
	const top = 1<<32 - 1
	f := newFake(t)
	q := f.open(Config{Workers: Inline})
	owner := q.conns[0].sock.nl.PID()
	set := fakeTables(t, q.conns[0].sock)
	check := func(what string, want Stats) {
		t.Helper()
		s := q.Stats()
		got := Stats{KernelKnown: s.KernelKnown, Waiting: s.Waiting, QueueDropped: s.QueueDropped, SocketDropped: s.SocketDropped, Sequence: s.Sequence}
		if got != want {
			t.Errorf("%s:\n%+v, want\n%+v", what, got, want)
		}
	}
	set(queueLine(owner, 3, top, 10, top-1), "")
	check("before", Stats{KernelKnown: true, Waiting: 3, QueueDropped: top, SocketDropped: 10, Sequence: top - 1})
	set(queueLine(owner, 4, 0, 9, 5), "")
	check("wrapped once", Stats{KernelKnown: true, Waiting: 4, QueueDropped: 1 << 32, SocketDropped: 1<<32 + 9, Sequence: 1<<32 + 5})
	check("again", Stats{KernelKnown: true, Waiting: 4, QueueDropped: 1 << 32, SocketDropped: 1<<32 + 9, Sequence: 1<<32 + 5})
	set(queueLine(owner, 0, top, 9, 4), "")
	check("wrapped twice", Stats{KernelKnown: true, QueueDropped: 1<<33 - 1, SocketDropped: 1<<32 + 9, Sequence: 1<<33 + 4})
	// The queue is gone: nothing goes back, and another count of its losses is
	// not mixed in.
	set("", socketLine(owner, 3))
	check("without the queue", Stats{QueueDropped: 1<<33 - 1, SocketDropped: 1<<32 + 9, Sequence: 1<<33 + 4})
	set(queueLine(owner+1, 7, 7, 7, 7), "")
	q.Close()
	check("after Close", Stats{QueueDropped: 1<<33 - 1, SocketDropped: 1<<32 + 9, Sequence: 1<<33 + 4})
}

// The socket's own count, which is all that an ordinary user sees, wraps too;
// kernels have written it with a sign.
func TestSocketDropsGoOnWhereTheKernelsWrap(t *testing.T) {
	f := newFake(t)
	q := f.open(Config{Workers: Inline})
	owner := q.conns[0].sock.nl.PID()
	set := fakeTables(t, q.conns[0].sock)
	for _, x := range []struct {
		drops int32
		want  uint64
	}{{5, 5}, {1<<31 - 1, 1<<31 - 1}, {-1 << 31, 1 << 31}, {-1, 1<<32 - 1}, {2, 1<<32 + 2}} {
		set("", socketLine(owner, x.drops))
		if s := q.Stats(); s.SocketDropped != x.want || s.KernelKnown {
			t.Errorf("the kernel says %d: %d, want %d (KernelKnown %v)", x.drops, s.SocketDropped, x.want, s.KernelKnown)
		}
	}
}

// Whoever reads at the same time sees counters that never go back.
func TestKernelCountersAreReadConcurrently(t *testing.T) {
	const readers, reads = 4, 5000
	var kt kernelTally
	kernel := uint32(1<<32 - reads*readers/2) // wraps on the way; read within the tally's lock
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			last := uint64(0)
			for range reads {
				k := kt.update(func() (kernelCounters, bool) {
					kernel++
					return kernelCounters{full: true, sequence: uint64(kernel)}, true
				}, false)
				if k.sequence <= last || k.sequence > 1<<32+reads*readers/2 {
					t.Errorf("%d comes after %d", k.sequence, last)
				}
				last = k.sequence
			}
		})
	}
	all.Wait()
	if got := kt.total.sequence; got != 1<<32+reads*readers/2 {
		t.Errorf("%d in the end", got)
	}
}
