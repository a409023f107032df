//go:build linux && cgo

package main

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/ipq"
)

// A family is what a handle receives: IPv4 or IPv6.
type family int

const (
	ipv4 family = iota
	ipv6
	families
)

// familyOf returns a packet's family, and false if no handle is for it.
func familyOf(p *ipq.Packet) (family, bool) {
	switch p.EtherType() {
	case unix.ETH_P_IP:
		return ipv4, true
	case unix.ETH_P_IPV6:
		return ipv6, true
	}
	return 0, false
}

// A queue is one of the kernel's queues, with up to two handles.
//
// With one, a read of the handle is a read of the Conn. With two, a goroutine
// reads, and sorts what comes into the handles' lists.
type queue struct {
	conn *ipq.Conn
	link link

	mu     sync.Mutex
	to     [families]listener
	shared bool
	sorted chan struct{}     // closed when the goroutine has ended
	failed error             // that ended it
	owed   map[uint32]family // packets that handles have, or have in their lists; when shared
	buf    []byte
}

// A listener is a handle.
type listener struct {
	open  bool
	event int // descriptor that is readable while the list has something
	mode  mode
	list  []message
}

// A message is what a handle is to read.
type message struct {
	bytes  []byte
	id     uint32
	packet bool // or an error
}

// open makes a queue of a socket that is bound.
func open(sock int, number uint16) (*queue, error) {
	fd, err := unix.FcntlInt(uintptr(sock), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "queue")
	defer f.Close()
	// One packet at a time: see handle.c for what h->fd tells.
	conn, err := ipq.ConnFromFile(ipq.Config{Queue: number, BatchSize: 1}, f)
	if err != nil {
		return nil, err
	}
	return &queue{conn: conn, link: newLink(), owed: map[uint32]family{}}, nil
}

// join has a handle receive what comes from now on.
func (q *queue) join(f family, event int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.to[f] = listener{open: true, event: event}
}

// setMode says how much of each packet a handle is to have.
func (q *queue) setMode(f family, m mode) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.to[f].mode = m
}

// share begins to sort packets for two handles.
func (q *queue) share() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shared, q.sorted = true, make(chan struct{})
	go q.sort()
}

// leave drops what a handle has not decided. It closes the queue if it was the last.
func (q *queue) leave(f family, last bool) {
	q.mu.Lock()
	q.to[f] = listener{}
	for id, owner := range q.owed {
		if owner == f {
			delete(q.owed, id)
			q.drop(id)
		}
	}
	q.mu.Unlock()
	if !last {
		return
	}
	q.conn.Close() // of whose errors nobody can do anything
	q.link.close()
	if q.shared {
		<-q.sorted
	}
}

// drop decides a packet that nobody else can. What goes wrong is the error of a read.
func (q *queue) drop(id uint32) { _ = q.conn.SetVerdict(id, ipq.Drop, nil) }

// read copies the next message of a handle into buf. It returns 0 if there is none.
func (q *queue) read(f family, buf []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := &q.to[f]
	if !l.open { // closed by another thread
		return 0, ipq.ErrClosed
	}
	if q.shared {
		if len(l.list) == 0 {
			return 0, q.failed
		}
		m := l.list[0]
		l.list = l.list[1:]
		if len(l.list) == 0 && q.failed == nil {
			l.clear()
		}
		return q.give(m, buf)
	}
	for {
		p, err := q.conn.Read(-1)
		switch {
		case errors.Is(err, ipq.ErrTimeout):
			return 0, nil
		case p == nil && err != nil:
			number, told := refusal(err)
			if !told {
				return 0, err
			}
			return q.give(message{bytes: appendError(q.buf[:0], number)}, buf)
		case p == nil: // which Read does not return
			continue
		}
		if m, ok := q.message(p, err, q.buf[:0]); ok && m.to == f {
			q.buf = m.bytes
			return q.give(m.message, buf)
		}
		q.drop(p.ID())
	}
}

var errTooShort = errors.New("the buffer is too short for the packet")

// give copies a message to where it is wanted. A packet that does not fit there is
// dropped: the program knows nothing of it.
func (q *queue) give(m message, buf []byte) (int, error) {
	if len(m.bytes) <= len(buf) {
		return copy(buf, m.bytes), nil
	}
	if m.packet {
		delete(q.owed, m.id)
		q.drop(m.id)
	}
	return 0, errTooShort
}

type addressed struct {
	message
	to family
}

// message makes a message of a packet, behind what is in b, unless no handle wants it.
func (q *queue) message(p *ipq.Packet, err error, b []byte) (addressed, bool) {
	f, ok := familyOf(p)
	if err != nil || !ok || !q.to[f].open || q.to[f].mode.copies == copyNone {
		return addressed{}, false
	}
	b = q.appendPacket(b, p, q.to[f].mode)
	return addressed{message{bytes: b, id: p.ID(), packet: true}, f}, true
}

// sort reads packets into the handles' lists. They are no longer than the kernel's
// queue: it keeps each packet until its verdict.
func (q *queue) sort() {
	defer close(q.sorted)
	for {
		p, err := q.conn.Read(0)
		if !q.enlist(p, err) {
			return
		}
	}
}

// enlist puts what a read has brought into a list. It returns false when there is no
// more.
func (q *queue) enlist(p *ipq.Packet, err error) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p == nil {
		number, told := refusal(err)
		if !told {
			q.failed = err
		}
		for f := range q.to {
			if l := &q.to[f]; l.open && told {
				l.add(message{bytes: appendError(nil, number)})
			} else if l.open {
				l.set()
			}
		}
		return told
	}
	m, ok := q.message(p, err, nil)
	if !ok {
		q.drop(p.ID())
		return true
	}
	q.owed[m.id] = m.to
	q.to[m.to].add(m.message)
	return true
}

const mostErrors = 4096 // in a list that nobody reads

func (l *listener) add(m message) {
	if !m.packet && len(l.list) >= mostErrors {
		return
	}
	l.list = append(l.list, m)
	if len(l.list) == 1 {
		l.set()
	}
}

func (l *listener) set() { _, _ = unix.Write(l.event, []byte{1, 0, 0, 0, 0, 0, 0, 0}) } // it fails when it is set

func (l *listener) clear() {
	var count [8]byte
	_, _ = unix.Read(l.event, count[:])
}

// refusal returns the kernel's errno if err says that it has refused what it was told,
// after which reads go on.
func refusal(err error) (syscall.Errno, bool) {
	var v *ipq.VerdictError
	var op *ipq.OpError
	var errno syscall.Errno
	switch {
	case errors.As(err, &v):
		return v.Errno, true
	case errors.As(err, &op) && op.Op == "configure" && errors.As(err, &errno):
		return errno, true
	}
	return 0, false
}

// verdict decides a packet, with a payload unless that is nil.
func (q *queue) verdict(f family, id uint32, v ipq.Verdict, payload []byte) error {
	q.mu.Lock()
	if q.shared {
		if owner, ok := q.owed[id]; !ok || owner != f {
			// As the kernel answers, but to who has asked.
			q.to[f].add(message{bytes: appendError(nil, syscall.ENOENT)})
			q.mu.Unlock()
			return nil
		}
		delete(q.owed, id)
	}
	q.mu.Unlock()
	// The packet is as the program wants it, with the checksums that it has made.
	return q.conn.SetVerdictWith(id, v, ipq.VerdictOptions{Payload: payload, KeepChecksums: true})
}
