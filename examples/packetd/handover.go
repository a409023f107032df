//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goipq/goipq/ipq"
)

// envSuccessor tells a process that it is a successor, which has these files.
const (
	envSuccessor = "PACKETD_SUCCESSOR"
	beginFD      = 3 // tells it to begin
	readyFD      = 4 // it tells here that it has the socket
	socketFD     = 5
)

// startPatience is how long a successor may take until it has the socket.
const startPatience = time.Minute

// open gets the queue from where it is: from the process before this one, from systemd,
// which has kept the socket of one that was killed, or from the kernel.
func (s *service) open() (err error) {
	if os.Getenv(envSuccessor) != "" {
		return s.succeed()
	}
	kept := keptFiles()
	if len(kept) == 1 {
		if s.q, err = ipq.FromFile(s.cfg, kept...); err == nil {
			err = s.q.Inherit() // what the dead process had received and not decided
		}
	}
	for _, f := range kept {
		f.Close()
	}
	switch {
	case s.q != nil:
		slog.Info("took the queue over from a process that was killed")
		return err
	case err != nil:
		slog.Warn("the socket that was kept is of no use", "err", err)
		s.forget()
	}
	if s.q, err = ipq.Open(s.cfg); err != nil {
		return err
	}
	s.keep()
	return nil
}

// keep has systemd keep the socket, for a successor if this process is killed.
func (s *service) keep() {
	f, err := s.q.File(0)
	if err == nil {
		// FDPOLL=0: an error on the socket is no reason to throw it away.
		err = notify("FDSTORE=1\nFDNAME=queue\nFDPOLL=0", f)
		f.Close()
	}
	if err != nil {
		slog.Warn("nobody keeps the socket", "err", err)
	}
}

// forget has systemd keep the socket no longer: the queue is unbound.
func (s *service) forget() { s.tell("FDSTOREREMOVE=1\nFDNAME=queue") }

// A successor is a process that the queue is to be handed over to.
type successor struct {
	cmd   *exec.Cmd
	begin *os.File   // one byte here has it begin
	ready chan error // nil: it has the socket; else it has not, and is gone
}

// reload starts a successor, unless one is starting.
func (s *service) reload() {
	if s.next != nil {
		return
	}
	s.tell("RELOADING=1\nMONOTONIC_USEC=%d", monotonic())
	next, err := startSuccessor(s.q)
	if err != nil {
		next = &successor{ready: make(chan error, 1)}
		next.ready <- err
	}
	s.next = next
}

// startSuccessor starts the program that is at the place of this one by now, and gives it
// the queue's socket.
func startSuccessor(q *ipq.Queue) (_ *successor, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	socket, err := q.File(0)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	hisBegin, begin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer hisBegin.Close()
	ready, hisReady, err := os.Pipe()
	if err != nil {
		begin.Close()
		return nil, err
	}
	defer hisReady.Close()

	n := &successor{cmd: exec.Command(exe, os.Args[1:]...), begin: begin, ready: make(chan error, 1)}
	// WATCHDOG_PID and LISTEN_PID name this process.
	n.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "WATCHDOG_PID=") || strings.HasPrefix(v, "LISTEN_")
	}), envSuccessor+"=1")
	n.cmd.Stdout, n.cmd.Stderr = os.Stdout, os.Stderr
	// As a child of systemd, not of this process: when the service is to end, systemd waits
	// for its own children only, and kills others at once.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_PARENT}
	n.cmd.ExtraFiles = []*os.File{hisBegin, hisReady, socket}
	if err := n.cmd.Start(); err != nil {
		begin.Close()
		ready.Close()
		return nil, err
	}
	go func() { n.ready <- n.await(ready) }()
	return n, nil
}

// await waits until the successor has the socket.
func (n *successor) await(ready *os.File) error {
	defer ready.Close()
	_ = ready.SetReadDeadline(time.Now().Add(startPatience)) // pipes have deadlines
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		n.end()
		return fmt.Errorf("the new process has ended, or has not got the socket: %w", err)
	}
	return nil
}

// end kills the successor, if it has not ended by itself. Its parent takes note.
func (n *successor) end() {
	n.begin.Close()
	_ = n.cmd.Process.Kill() // fails only if it has ended
	_ = n.cmd.Process.Release()
}

// answer returns where a successor says whether it is ready.
func (n *successor) answer() <-chan error {
	if n == nil {
		return nil
	}
	return n.ready
}

// abandon ends a successor that the queue is not handed over to.
func (n *successor) abandon() {
	if n == nil {
		return
	}
	if n.cmd != nil {
		_ = n.cmd.Process.Kill() // fails only if it has ended
	}
	if <-n.ready == nil {
		n.end()
	}
}

// handOver leaves the queue to the successor. When Detach has returned, everything that
// this process has received is decided; what has come since waits in the kernel.
func (s *service) handOver() error {
	err := s.q.Detach()
	// Before the successor speaks, because systemd listens to the main process only.
	s.tell("MAINPID=%d", s.next.cmd.Process.Pid)
	_, beginErr := s.next.begin.Write([]byte{1})
	return errors.Join(err, beginErr)
}

// succeed takes the queue over from the process that has started this one.
func (s *service) succeed() (err error) {
	os.Unsetenv(envSuccessor)
	begin, ready, socket := os.NewFile(beginFD, "begin"), os.NewFile(readyFD, "ready"), os.NewFile(socketFD, "socket")
	defer begin.Close()
	s.q, err = ipq.FromFile(s.cfg, socket)
	socket.Close()
	if err != nil {
		return err
	}
	_, err = ready.Write([]byte{1})
	ready.Close()
	if err == nil {
		_, err = io.ReadFull(begin, make([]byte, 1))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("the process before this one has kept the queue: %w", err), s.q.Detach())
	}
	slog.Info("took the queue over")
	return nil
}
