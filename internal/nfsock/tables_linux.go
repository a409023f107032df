package nfsock

import (
	"bytes"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// tables are the kernel's tables of queues and of netlink sockets. They
// stay open, because they belong to the namespace that they were opened in.
type tables struct {
	queues  *os.File // nil without the right to read it
	sockets *os.File

	mu  sync.Mutex
	buf []byte
}

// open opens what there is for the calling thread's namespace. That a file is
// missing or may not be read is no error.
func (t *tables) open() error {
	const dir = "/proc/thread-self/net/"
	t.queues, _ = os.Open(dir + "netfilter/nfnetlink_queue")
	t.sockets, _ = os.Open(dir + "netlink")
	return nil
}

// SetTables has s read these files in place of the kernel's tables, as far as they
// are not nil. It is for tests; s closes the files.
func (s *Socket) SetTables(queues, sockets *os.File) {
	s.tables.close()
	s.tables.mu.Lock()
	defer s.tables.mu.Unlock()
	s.tables.queues, s.tables.sockets = queues, sockets
}

func (t *tables) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range []**os.File{&t.queues, &t.sockets} {
		if *f != nil {
			(*f).Close()
			*f = nil
		}
	}
}

// read returns the counters, of 32 bits, of a queue that the socket with that
// port id is bound to. It reports false if neither table has them.
func (t *tables) read(queue uint16, portID uint32) (Counters, bool) {
	// queue, port id, waiting, copy mode, copy range, queue dropped,
	// user dropped, id sequence, 1
	if f, ok := t.find(t.queueFile(), 9, func(f []uint64) bool {
		return f[0] == uint64(queue) && f[1] == uint64(portID)
	}); ok {
		return Counters{Known: true, Waiting: f[2], QueueDropped: f[5], SocketDropped: f[6], Sequence: f[7]}, true
	}
	// sk, Eth (the netlink family), Pid (the port id), Groups, Rmem, Wmem,
	// Dump, Locks, Drops, Inode
	if f, ok := t.find(t.socketFile(), 10, func(f []uint64) bool {
		return f[1] == unix.NETLINK_NETFILTER && f[2] == uint64(portID)
	}); ok {
		return Counters{SocketDropped: f[8]}, true
	}
	return Counters{}, false
}

// owner returns the port id of the socket that a queue is bound to, or 0.
func (t *tables) owner(queue uint16) uint32 {
	f, ok := t.find(t.queueFile(), 2, func(f []uint64) bool { return f[0] == uint64(queue) })
	if !ok {
		return 0
	}
	return uint32(f[1])
}

func (t *tables) queueFile() **os.File  { return &t.queues }
func (t *tables) socketFile() **os.File { return &t.sockets }

// find returns the first line of at least n numbers that match accepts.
func (t *tables) find(file **os.File, n int, match func([]uint64) bool) ([]uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *file == nil {
		return nil, false
	}
	text := t.slurp(*file)
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) < n {
			continue
		}
		nums := make([]uint64, len(words))
		for i, w := range words {
			// What is no decimal number (a heading, a pointer) is 0 here and
			// in no column that anybody looks at. Drops were signed once.
			n, _ := strconv.ParseInt(string(w), 10, 64)
			nums[i] = uint64(n)
		}
		if match(nums) {
			return nums, true
		}
	}
	return nil, false
}

// slurp reads a whole file from its start, into a buffer that is kept.
func (t *tables) slurp(f *os.File) []byte {
	if t.buf == nil {
		t.buf = make([]byte, 4096)
	}
	for n := 0; ; {
		m, err := f.ReadAt(t.buf[n:], int64(n))
		n += m
		if err != nil || m == 0 {
			return t.buf[:n]
		}
		t.buf = append(t.buf, make([]byte, len(t.buf))...)
	}
}
