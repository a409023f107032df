package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/examples/internal/extest"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// patience is how long anything may take that takes milliseconds on an idle machine.
const patience = 2 * time.Minute

// A manager is to the service what systemd is: it starts the process, confined as the unit
// says, hears what it says, keeps its files, and knows which process is the main one.
type manager struct {
	t       *testing.T
	ns      *netlab.NS
	program string   // where the service is installed
	env     []string // of the service, beside the usual
	socket  string   // NOTIFY_SOCKET
	conn    *net.UnixConn
	output  *os.File
	main    int        // MainPID; 0: it has ended
	kept    []*os.File // FDSTORE
}

// newManager returns a manager whose service is installed and not started. Its socket is a
// file, or abstract.
func newManager(t *testing.T, ns *netlab.NS, abstract bool) *manager {
	t.Helper()
	// Unlike t.TempDir, one that the service's user may enter.
	dir, err := os.MkdirTemp("", "packetd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &manager{t: t, ns: ns, program: filepath.Join(dir, "packetd"), socket: filepath.Join(dir, "notify")}
	if abstract {
		m.socket = "@" + m.socket // of the network namespace
	}
	if err := ns.Do(func() (err error) {
		m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: m.socket})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.conn.Close() })
	raw, err := m.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if !abstract {
		if err := os.Chmod(m.socket, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if m.output, err = os.Create(filepath.Join(dir, "output")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the service said:\n%s", m.said())
		}
		m.output.Close()
		m.forget()
	})
	m.installSelf()
	return m
}

// install puts a program in the place of the service's, as a package's upgrade does.
func (m *manager) install(program []byte) {
	m.t.Helper()
	// A process that another test starts meanwhile would have the file open for a moment,
	// and nobody could execute it (ETXTBSY).
	syscall.ForkLock.RLock()
	err := os.WriteFile(m.program+".new", program, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(m.program+".new", m.program); err != nil {
		m.t.Fatal(err)
	}
}

// installSelf installs the test binary, which is the service, too.
func (m *manager) installSelf() {
	m.t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		m.t.Fatal(err)
	}
	m.install(self)
}

// command returns a command that runs a program, confined.
func (m *manager) command(program string, args ...string) *exec.Cmd {
	cmd := extest.Command(m.t, args...)
	cmd.Path = m.program
	cmd.Env = append(cmd.Env, envProgram+"="+program, "NOTIFY_SOCKET="+m.socket, "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = m.output, m.output
	return cmd
}

// start starts the service, with the files that are kept. No handler is too slow, unless
// an argument says so.
func (m *manager) start(args ...string) {
	m.t.Helper()
	cmd := m.command(m.program, append([]string{"-handler-timeout", patience.String()}, args...)...)
	cmd.Env = append(cmd.Env, m.env...)
	if len(m.kept) > 0 {
		cmd.ExtraFiles = m.kept
		cmd.Env = append(cmd.Env, "LISTEN_FDS="+strconv.Itoa(len(m.kept)), "LISTEN_FDNAMES=queue")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := m.ns.Do(cmd.Start); err != nil {
		m.t.Fatal(err)
	}
	group := cmd.Process.Pid
	m.main = group
	m.t.Cleanup(func() {
		m.kill()
		if m.t.Failed() { // in the middle of a hand-over, may be
			_ = syscall.Kill(-group, syscall.SIGKILL)
		}
	})
}

// reload is ExecReload.
func (m *manager) reload() {
	m.t.Helper()
	words := setting("ExecReload")
	for i, w := range words {
		if w == "$MAINPID" {
			words[i] = strconv.Itoa(m.main)
		}
	}
	if err := m.command(labtest.Program(m.t, words[0]), words[1:]...).Run(); err != nil {
		m.t.Fatalf("%s: %v", words, err)
	}
}

// A message is what the service has told.
type message []string

func (m message) has(line string) bool { return slices.Contains(m, line) }

// value returns what follows a name.
func (m message) value(name string) (string, bool) {
	for _, line := range m {
		if v, ok := strings.CutPrefix(line, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// hear returns the next message, and does what it asks for. Only the main process may
// speak: NotifyAccess=main.
func (m *manager) hear() message {
	m.t.Helper()
	b, oob := make([]byte, 4096), make([]byte, 512)
	var n, oobn int
	for begin := time.Now(); ; {
		err := m.conn.SetReadDeadline(time.Now().Add(time.Second / 10))
		if err == nil {
			n, oobn, _, _, err = m.conn.ReadMsgUnix(b, oob)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) > patience || m.hasEnded() {
			m.t.Fatalf("the service says nothing more: %v", err)
		}
	}
	said := message(strings.Split(string(b[:n]), "\n"))
	control, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		m.t.Fatal(err)
	}
	var files []*os.File
	for _, c := range control {
		if cred, err := unix.ParseUnixCredentials(&c); err == nil && int(cred.Pid) != m.main {
			m.t.Fatalf("process %d says %q, but %d is the main one", cred.Pid, said, m.main)
		}
		fds, _ := unix.ParseUnixRights(&c)
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "kept"))
		}
	}
	switch {
	case said.has("FDSTORE=1"):
		m.kept = append(m.kept, files...)
	case said.has("FDSTOREREMOVE=1"):
		m.forget()
	}
	if pid, ok := said.value("MAINPID"); ok {
		if m.main, err = strconv.Atoi(pid); err != nil {
			m.t.Fatalf("%q: %v", said, err)
		}
		// systemd waits for the end of its own children only.
		if stat := m.stat(); len(stat) < 2 || stat[1] != strconv.Itoa(os.Getpid()) {
			m.t.Errorf("the new main process is no child of %d: %q", os.Getpid(), stat)
		}
	}
	return said
}

// stat returns the main process's state, its parent, and so on: what is behind its name in
// /proc/PID/stat. It returns nil if there is no such process.
func (m *manager) stat() []string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.main))
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.Fields(rest)
}

// hasEnded reports whether the main process has ended.
func (m *manager) hasEnded() bool {
	stat := m.stat()
	return len(stat) == 0 || stat[0] == "Z"
}

// await hears messages up to one that has a line.
func (m *manager) await(line string) message {
	m.t.Helper()
	for {
		if said := m.hear(); said.has(line) {
			return said
		}
	}
}

// signal sends the main process a signal.
func (m *manager) signal(sig os.Signal) {
	m.t.Helper()
	if err := m.process().Signal(sig); err != nil {
		m.t.Fatal(err)
	}
}

// wait waits for a process to end, and returns how it has.
func (m *manager) wait(pid int) *os.ProcessState {
	m.t.Helper()
	p, err := os.FindProcess(pid)
	if err != nil {
		m.t.Fatal(err)
	}
	state, err := p.Wait()
	if err != nil {
		m.t.Fatalf("process %d: %v", pid, err)
	}
	if pid == m.main {
		m.main = 0
	}
	return state
}

func (m *manager) process() *os.Process {
	p, err := os.FindProcess(m.main)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// stop has the service end in order.
func (m *manager) stop() {
	m.t.Helper()
	m.signal(unix.SIGTERM)
	m.await("STOPPING=1")
	m.await("FDSTOREREMOVE=1")
	if state := m.wait(m.main); !state.Success() {
		m.t.Errorf("the service has ended with %v", state)
	}
}

// kill kills the main process, unless it is gone.
func (m *manager) kill() {
	if m.main != 0 && m.process().Kill() == nil {
		m.wait(m.main)
	}
}

// forget closes the files that are kept.
func (m *manager) forget() {
	for _, f := range m.kept {
		f.Close()
	}
	m.kept = nil
}

// said returns the service's output.
func (m *manager) said() string {
	b, err := io.ReadAll(io.NewSectionReader(m.output, 0, 1<<20))
	if err != nil {
		m.t.Error(err)
	}
	return string(b)
}
