package netlab

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// catchSignals collects the signals that end a program. Those that were ignored
// from the start (nohup) stay ignored: catching them would also restore their
// default in the program that Enter runs.
func catchSignals() chan os.Signal {
	caught := make(chan os.Signal, 16)
	for _, sig := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(sig) {
			signal.Notify(caught, sig)
		}
	}
	return caught
}

// forwardSignals passes signals on to p until p is gone.
func forwardSignals(caught <-chan os.Signal, p *os.Process) {
	for sig := range caught {
		if (sig == unix.SIGINT || sig == unix.SIGQUIT) && inForeground() {
			continue
		}
		if p.Signal(sig) != nil {
			return
		}
	}
}

// inForeground reports whether this process is in the foreground group of its
// terminal. Then a keyboard signal has reached the child, which is of the same
// group, as well; a second copy would look like an impatient second Ctrl-C.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
