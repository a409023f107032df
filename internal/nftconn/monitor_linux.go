package nftconn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netns"
)

// A Monitor hears of each transaction in a namespace.
type Monitor struct {
	file *os.File
	raw  syscall.RawConn
	buf  []byte

	touched bool // the transaction that is being told has touched the table
}

// NewMonitor listens in the network namespace ns, or the caller's for 0. What
// happens from now on is told.
func NewMonitor(ns int) (*Monitor, error) {
	m := &Monitor{buf: make([]byte, room)}
	err := netns.Visit(ns, func() error {
		fd, err := open(unix.SOCK_NONBLOCK)
		if err != nil {
			return err
		}
		m.file = os.NewFile(uintptr(fd), "nftables monitor")
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.NFNLGRP_NFTABLES))
	})
	if err == nil {
		m.raw, err = m.file.SyscallConn()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Close closes the socket.
func (m *Monitor) Close() error { return m.file.Close() }

// Await waits for a transaction that touches the table, and says who made it,
// as far as the kernel tells. When the kernel could not tell of all of them, it
// returns at once, too. The error is ctx's when that ends first.
func (m *Monitor) Await(ctx context.Context, family uint8, table string) (who string, err error) {
	m.file.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { m.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		n, err := m.receive()
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS):
			m.touched = false
			return "", nil
		case err != nil:
			return "", err
		}
		found := false
		for msg := range messages(m.buf[:n]) {
			if msg.typ>>8 != unix.NFNL_SUBSYS_NFTABLES || len(msg.data) < 4 {
				continue
			}
			if msg.typ&0xff == unix.NFT_MSG_NEWGEN { // the end of a transaction
				if m.touched {
					found, who = true, author(msg.data[4:])
				}
				m.touched = false
			} else if msg.data[0] == family && tableOf(msg.data[4:]) == table {
				m.touched = true
			}
		}
		if found {
			return who, nil
		}
	}
}

func (m *Monitor) receive() (n int, err error) {
	waitErr := m.raw.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), m.buf, 0)
		return !errors.Is(err, unix.EAGAIN)
	})
	if waitErr != nil {
		return 0, waitErr
	}
	return n, err
}

// tableOf returns the name of the table that a message is about: the first
// attribute of all of them.
func tableOf(data []byte) string {
	for typ, value := range all(data) {
		if typ == unix.NFTA_TABLE_NAME {
			return text(value)
		}
	}
	return ""
}

// author returns who made a transaction: the name of the thread, and its id.
func author(data []byte) string {
	pid, name := uint32(0), ""
	for typ, value := range all(data) {
		switch typ {
		case unix.NFTA_GEN_PROC_PID:
			pid = number(value)
		case unix.NFTA_GEN_PROC_NAME:
			name = text(value)
		}
	}
	return fmt.Sprintf("%s (pid %d)", name, pid)
}
