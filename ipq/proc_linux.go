package ipq

import (
	"bytes"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// procFiles are the kernel's tables of queues and of netlink sockets. They
// stay open, because they belong to the namespace that they were opened in.
type procFiles struct {
	queues  *os.File // nil without the right to read it
	sockets *os.File

	mu  sync.Mutex
	buf []byte
}

// open opens what there is for the calling thread's namespace. That a file is
// missing or may not be read is no error.
func (p *procFiles) open() error {
	const dir = "/proc/thread-self/net/"
	p.queues, _ = os.Open(dir + "netfilter/nfnetlink_queue")
	p.sockets, _ = os.Open(dir + "netlink")
	return nil
}

func (p *procFiles) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range []**os.File{&p.queues, &p.sockets} {
		if *f != nil {
			(*f).Close()
			*f = nil
		}
	}
}

// read returns the counters, of 32 bits, of a queue that the socket with that
// port id is bound to. It reports false if neither table has them.
func (p *procFiles) read(queue uint16, portID uint32) (kernelCounters, bool) {
	// queue, port id, waiting, copy mode, copy range, queue dropped,
	// user dropped, id sequence, 1
	if f, ok := p.find(p.queueFile(), 9, func(f []uint64) bool {
		return f[0] == uint64(queue) && f[1] == uint64(portID)
	}); ok {
		return kernelCounters{full: true, waiting: f[2], queueDropped: f[5], socketDropped: f[6], sequence: f[7]}, true
	}
	// sk, Eth (the netlink family), Pid (the port id), Groups, Rmem, Wmem,
	// Dump, Locks, Drops, Inode
	if f, ok := p.find(p.socketFile(), 10, func(f []uint64) bool {
		return f[1] == unix.NETLINK_NETFILTER && f[2] == uint64(portID)
	}); ok {
		return kernelCounters{socketDropped: f[8]}, true
	}
	return kernelCounters{}, false
}

// owner returns the port id of the socket that a queue is bound to, or 0.
func (p *procFiles) owner(queue uint16) uint32 {
	f, ok := p.find(p.queueFile(), 2, func(f []uint64) bool { return f[0] == uint64(queue) })
	if !ok {
		return 0
	}
	return uint32(f[1])
}

func (p *procFiles) queueFile() **os.File  { return &p.queues }
func (p *procFiles) socketFile() **os.File { return &p.sockets }

// find returns the first line of at least n numbers that match accepts.
func (p *procFiles) find(file **os.File, n int, match func([]uint64) bool) ([]uint64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *file == nil {
		return nil, false
	}
	text := p.slurp(*file)
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
func (p *procFiles) slurp(f *os.File) []byte {
	if p.buf == nil {
		p.buf = make([]byte, 4096)
	}
	for n := 0; ; {
		m, err := f.ReadAt(p.buf[n:], int64(n))
		n += m
		if err != nil || m == 0 {
			return p.buf[:n]
		}
		p.buf = append(p.buf, make([]byte, len(p.buf))...)
	}
}
