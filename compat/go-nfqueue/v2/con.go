package nfqueue

import (
	"encoding/binary"
	"errors"
	"iter"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
)

// A socket is what is behind Nfqueue.Con: the netlink socket of a queue. It lets Con do
// what it likes, but for receiving while a hook is registered, when packets would go to
// whoever comes first.
type socket struct {
	nl      *netlink.Conn
	onClose func() // before it is closed

	mu         sync.Mutex
	registered bool
	readBuffer int               // that was set, 0: none
	answers    []netlink.Message // to what was sent while a hook is registered
}

var errRegistered = errors.New("packets go to the hook that is registered")

// register notes whether a hook is registered.
func (s *socket) register(registered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.registered, s.answers = registered, nil
}

// readBufferSet returns the size that Con.SetReadBuffer was called with, or 0.
func (s *socket) readBufferSet() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readBuffer
}

// Close implements netlink.Socket.
func (s *socket) Close() error {
	s.onClose()
	return cause(s.nl.Close())
}

// Send implements netlink.Socket.
func (s *socket) Send(m netlink.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.nl.Send(m); err != nil {
		return cause(err)
	}
	if s.registered && m.Header.Flags&netlink.Acknowledge != 0 {
		// The kernel's own stands behind packets, where the receiver of those finds it.
		const noError = 4 // bytes of errno 0, before the header that is answered
		s.answers = append(s.answers, netlink.Message{
			Header: netlink.Header{Type: netlink.Error, Sequence: m.Header.Sequence, PID: m.Header.PID},
			Data:   make([]byte, noError+16),
		})
	}
	return nil
}

// SendMessages implements netlink.Socket.
func (s *socket) SendMessages(all []netlink.Message) error {
	for _, m := range all {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// Receive implements netlink.Socket.
func (s *socket) Receive() ([]netlink.Message, error) {
	s.mu.Lock()
	if !s.registered {
		s.mu.Unlock()
		all, err := s.nl.Receive()
		for i := range all {
			all[i].Header.Flags &^= netlink.Multi // all the parts are there
		}
		return all, cause(err)
	}
	defer s.mu.Unlock()
	if len(s.answers) == 0 {
		return nil, errRegistered
	}
	all := s.answers
	s.answers = nil
	return all, nil
}

// ReceiveIter implements netlink.Socket.
func (s *socket) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) {
		all, err := s.Receive()
		if err != nil {
			yield(netlink.Message{}, err)
			return
		}
		for _, m := range all {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// What netlink.Conn asks a netlink.Socket for beside that:

func (s *socket) JoinGroup(group uint32) error             { return cause(s.nl.JoinGroup(group)) }
func (s *socket) LeaveGroup(group uint32) error            { return cause(s.nl.LeaveGroup(group)) }
func (s *socket) SetBPF(filter []bpf.RawInstruction) error { return cause(s.nl.SetBPF(filter)) }
func (s *socket) RemoveBPF() error                         { return cause(s.nl.RemoveBPF()) }
func (s *socket) SetDeadline(t time.Time) error            { return cause(s.nl.SetDeadline(t)) }
func (s *socket) SetReadDeadline(t time.Time) error        { return cause(s.nl.SetReadDeadline(t)) }
func (s *socket) SetWriteDeadline(t time.Time) error       { return cause(s.nl.SetWriteDeadline(t)) }
func (s *socket) SetWriteBuffer(bytes int) error           { return cause(s.nl.SetWriteBuffer(bytes)) }
func (s *socket) SyscallConn() (syscall.RawConn, error)    { return s.nl.SyscallConn() }

func (s *socket) SetOption(o netlink.ConnOption, enable bool) error {
	return cause(s.nl.SetOption(o, enable))
}

func (s *socket) ReadBuffer() (int, error) {
	n, err := s.nl.ReadBuffer()
	return n, cause(err)
}

func (s *socket) WriteBuffer() (int, error) {
	n, err := s.nl.WriteBuffer()
	return n, cause(err)
}

func (s *socket) SetReadBuffer(bytes int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.nl.SetReadBuffer(bytes); err != nil {
		return cause(err)
	}
	s.readBuffer = bytes
	return nil
}

// cause returns what a netlink.OpError stands for: the Con around the socket makes
// another.
func cause(err error) error {
	if op := (*netlink.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	return err
}

// configure sends a message of kind NFQNL_MSG_CONFIG for a queue, and does not wait for an
// answer.
func (s *socket) configure(queue uint16, attrs []netlink.Attribute) error {
	const queueSubsystem, config = 3, 2
	b, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return err
	}
	head := binary.BigEndian.AppendUint16([]byte{syscall.AF_UNSPEC, 0}, queue) // struct nfgenmsg
	return s.Send(netlink.Message{
		Header: netlink.Header{Type: queueSubsystem<<8 | config, Flags: netlink.Request},
		Data:   append(head, b...),
	})
}

// file returns a duplicate of the socket, which is the caller's to close.
func (s *socket) file() (*os.File, error) {
	raw, err := s.nl.SyscallConn()
	if err != nil {
		return nil, err
	}
	var f *os.File
	if cerr := raw.Control(func(fd uintptr) { f, err = duplicate(fd) }); cerr != nil {
		return nil, cerr
	}
	return f, err
}

// drain takes out what the socket holds, once no queue is bound: what is left of answers
// to verdicts, and packets that the kernel has dropped.
func (s *socket) drain() {
	raw, err := s.nl.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for discard(fd) == nil {
		}
	})
}
