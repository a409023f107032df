package nfsock

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

const number = 7

func options() *Options {
	return &Options{
		Queue: number, QueueLen: 10, CopyMode: zerocopy.CopyPacket, CopyRange: 100,
		Logger: slog.New(slog.DiscardHandler),
	}
}

// newFake returns a socket of a fake kernel.
func newFake(t *testing.T) *Socket {
	t.Helper()
	k, err := fakekernel.New(number)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	s, err := New(options(), k.Conn())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fakeTables has a socket read the kernel's tables from files, which set
// writes.
func fakeTables(t *testing.T, s *Socket) (set func(queues, sockets string)) {
	t.Helper()
	dir := t.TempDir()
	var names [2]string
	var files [2]*os.File
	for i := range files {
		names[i] = filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(names[i], nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if files[i], err = os.Open(names[i]); err != nil {
			t.Fatal(err)
		}
	}
	s.SetTables(files[0], files[1])
	return func(queues, sockets string) {
		t.Helper()
		for i, text := range []string{queues, sockets} {
			if err := os.WriteFile(names[i], []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// queueLine is one of /proc/net/netfilter/nfnetlink_queue.
func queueLine(owner uint32, waiting, queueDropped, socketDropped, sequence uint32) string {
	return fmt.Sprintf("%5d %6d %5d 2 65531 %5d %5d %8d  1\n", number, owner, waiting, queueDropped, socketDropped, sequence)
}

// socketLine is one of /proc/net/netlink, behind its heading.
func socketLine(owner uint32, drops int32) string {
	return "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n" +
		fmt.Sprintf("0000000000000000 12  %-10d 00000000 0        0        0     2        %-8d 12345\n", owner, drops)
}

// The kernel's counters wrap at 2^32; those of a Socket go on.
func TestKernelCountersGoOnWhereTheKernelsWrap(t *testing.T) {
	const top = 1<<32 - 1
	s := newFake(t)
	owner := s.PortID()
	set := fakeTables(t, s)
	check := func(what string, want Counters) {
		t.Helper()
		if got := s.Counters(); got != want {
			t.Errorf("%s:\n%+v, want\n%+v", what, got, want)
		}
	}
	set(queueLine(owner, 3, top, 10, top-1), "")
	check("before", Counters{Known: true, Waiting: 3, QueueDropped: top, SocketDropped: 10, Sequence: top - 1})
	set(queueLine(owner, 4, 0, 9, 5), "")
	check("wrapped once", Counters{Known: true, Waiting: 4, QueueDropped: 1 << 32, SocketDropped: 1<<32 + 9, Sequence: 1<<32 + 5})
	check("again", Counters{Known: true, Waiting: 4, QueueDropped: 1 << 32, SocketDropped: 1<<32 + 9, Sequence: 1<<32 + 5})
	set(queueLine(owner, 0, top, 9, 4), "")
	check("wrapped twice", Counters{Known: true, QueueDropped: 1<<33 - 1, SocketDropped: 1<<32 + 9, Sequence: 1<<33 + 4})
	// The queue is gone: nothing goes back, and another count of its losses is
	// not mixed in.
	set("", socketLine(owner, 3))
	check("without the queue", Counters{QueueDropped: 1<<33 - 1, SocketDropped: 1<<32 + 9, Sequence: 1<<33 + 4})
	set(queueLine(owner+1, 7, 7, 7, 7), "")
	s.Close()
	check("after Close", Counters{QueueDropped: 1<<33 - 1, SocketDropped: 1<<32 + 9, Sequence: 1<<33 + 4})
}

// The socket's own count, which is all that an ordinary user sees, wraps too;
// kernels have written it with a sign.
func TestSocketDropsGoOnWhereTheKernelsWrap(t *testing.T) {
	s := newFake(t)
	owner := s.PortID()
	set := fakeTables(t, s)
	for _, x := range []struct {
		drops int32
		want  uint64
	}{{5, 5}, {1<<31 - 1, 1<<31 - 1}, {-1 << 31, 1 << 31}, {-1, 1<<32 - 1}, {2, 1<<32 + 2}} {
		set("", socketLine(owner, x.drops))
		if c := s.Counters(); c.SocketDropped != x.want || c.Known {
			t.Errorf("the kernel says %d: %d, want %d (known: %v)", x.drops, c.SocketDropped, x.want, c.Known)
		}
	}
}

// Whoever reads at the same time sees counters that never go back.
func TestKernelCountersAreReadConcurrently(t *testing.T) {
	const readers, reads = 4, 5000
	var x extender
	kernel := uint32(1<<32 - reads*readers/2) // wraps on the way; read within the lock
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			last := uint64(0)
			for range reads {
				k := x.update(func() (Counters, bool) {
					kernel++
					return Counters{Known: true, Sequence: uint64(kernel)}, true
				}, false)
				if k.Sequence <= last || k.Sequence > 1<<32+reads*readers/2 {
					t.Errorf("%d comes after %d", k.Sequence, last)
				}
				last = k.Sequence
			}
		})
	}
	all.Wait()
	if got := x.total.Sequence; got != 1<<32+reads*readers/2 {
		t.Errorf("%d in the end", got)
	}
}
