//go:build linux

package main

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// notify sends systemd a message, and files to keep, as sd_notify(3) does. Without
// systemd it does nothing. The protocol is promised to stay as it is, and shorter than a
// dependency would be.
func notify(message string, files ...*os.File) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	var rights []byte
	for _, f := range files {
		rights = append(rights, unix.UnixRights(int(f.Fd()))...)
	}
	// An abstract name begins with @, here as there.
	return os.NewSyscallError("sendmsg", unix.Sendmsg(fd, []byte(message), rights, &unix.SockaddrUnix{Name: name}, 0))
}

// tell is notify that fails with a line in the log: packets are decided all the same.
func (s *service) tell(format string, args ...any) {
	if err := notify(fmt.Sprintf(format, args...)); err != nil {
		slog.Warn("systemd cannot be told", "err", err)
	}
}

// lookEvery returns how often to look at the queue: three times in the time within which
// systemd wants to hear WATCHDOG=1, so that one answer may be missing.
func lookEvery() time.Duration {
	const usual = 10 * time.Second
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return usual // it is another process that is watched
	}
	usec, err := strconv.ParseUint(os.Getenv("WATCHDOG_USEC"), 10, 32)
	if err != nil || usec == 0 {
		return usual
	}
	return time.Duration(usec) * time.Microsecond / 3
}

// keptFiles returns the files that systemd has kept for this service (FDSTORE=1), as
// sd_listen_fds(3) does: the socket of a process that was killed.
func keptFiles() (files []*os.File) {
	const first = 3 // SD_LISTEN_FDS_START
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil
	}
	for fd := first; fd < first+n; fd++ {
		unix.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "kept"))
	}
	return files
}

// monotonic returns the time of CLOCK_MONOTONIC in microseconds, which RELOADING=1 wants.
func monotonic() int64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return now.Nano() / 1000
}
