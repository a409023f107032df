package netlab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// envHome marks a process that Enter has moved, and its descendants. It
	// holds the identity of the namespace that was left, so that a descendant
	// which went back there (nsenter, sudo) does not take it for private.
	envHome = "GOIPQ_NETLAB_HOME"

	// envReport tells the re-executed process, and only that one, which
	// descriptor takes the report that Enter failed on its side.
	envReport = "GOIPQ_NETLAB_REPORT"
	reportFD  = 3 // the first of exec.Cmd's ExtraFiles
)

// Enter moves the program into a private network namespace with the loopback
// link up: in a process with CAP_SYS_ADMIN and CAP_NET_ADMIN a network
// namespace, in any other a user namespace where the user is root and a network
// namespace below it.
//
// The first call runs the program once more, with the same arguments, standard
// streams and environment, and waits for it: the first process ends with the exit
// status of the second, or 128 plus the number of the signal that killed it, and
// so never returns. Whatever main did before Enter happens twice, so call it
// first. In the second process Enter returns nil at once, as it does in all
// processes that one starts. Other files that the program was started with keep
// their numbers; only 3 is taken.
//
// SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on, except that SIGINT and
// SIGQUIT are left alone when the terminal sends them, because it sends them to
// both processes. If the first process is killed, the second is killed too.
//
// If there can be no namespace, Enter returns an error matching
// [ErrUnavailable] in the original process.
func Enter() error {
	if Inside() {
		return arrive()
	}
	home, err := netnsID("/proc/self/ns/net")
	if err != nil {
		return err
	}
	report, childReport, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("netlab: %w", err)
	}
	defer report.Close()
	defer childReport.Close()

	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	userNS := !hasCaps(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN)
	if userNS {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	cmd := &exec.Cmd{
		// Not os.Executable: it may be in a folder that this user may not enter, as
		// what go run builds for root is.
		Path: "/proc/self/exe",
		Args: os.Args,
		Env: append(os.Environ(),
			envHome+"="+home,
			envReport+"="+strconv.Itoa(reportFD)),
		Stdin:       os.Stdin,
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		ExtraFiles:  []*os.File{childReport},
		SysProcAttr: attr,
	}

	// PR_SET_PDEATHSIG fires when the thread that forked dies, so that thread
	// must last until the wait is over.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := catchSignals()
	defer func() {
		signal.Stop(signals)
		close(signals)
	}()
	if err := cmd.Start(); err != nil {
		return unavailable("make namespaces", err, userNS)
	}
	go forwardSignals(signals, cmd.Process)

	childReport.Close()
	failure, err := io.ReadAll(report)
	if err != nil {
		failure = fmt.Append(nil, "read its report: ", err)
	}
	waitErr := cmd.Wait()
	if len(failure) > 0 {
		return fmt.Errorf("netlab: %w: %s", ErrUnavailable, failure)
	}
	if cmd.ProcessState == nil {
		return fmt.Errorf("netlab: wait for the program in its namespace: %w", waitErr)
	}
	os.Exit(exitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus)))
	return nil // not reached
}

// arrive finishes Enter in the process that it started. Where namespaces exist
// but confer no rights (Ubuntu's AppArmor restriction), setting the loopback
// link up is the first thing to be refused.
func arrive() error {
	if os.Getenv(envReport) == "" {
		return nil
	}
	os.Unsetenv(envReport) // descendants have other files at that number
	unix.CloseOnExec(reportFD)
	report := os.NewFile(reportFD, "netlab report")
	defer report.Close() // an empty report says that all is well
	if err := loopbackUp(); err != nil {
		// Not ErrUnavailable's text again: the reader of the report adds it.
		fmt.Fprint(report, cause("set up the loopback link", err, os.DirFS("/proc"), !inInitUserNS()))
		os.Exit(1)
	}
	return nil
}

// Inside reports whether this process runs in a private namespace that Enter
// made, in it or in one of its ancestors.
func Inside() bool { return inside() }

var inside = sync.OnceValue(func() bool {
	home := os.Getenv(envHome)
	if home == "" {
		return false
	}
	here, err := netnsID("/proc/self/ns/net")
	return err == nil && here != home
})

// netnsID identifies a namespace by the device and inode of its file.
func netnsID(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", fmt.Errorf("netlab: identify the network namespace: %w",
			&os.PathError{Op: "stat", Path: path, Err: err})
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), nil
}

func exitStatus(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}
