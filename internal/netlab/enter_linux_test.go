package netlab_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestEnterPassesThrough(t *testing.T) {
	labtest.Need(t)
	cmd := program(t, "describe", "one", "two words")
	cmd.Stdin = strings.NewReader("stdin")
	out, err := cmd.Output()
	if want := `true ["one" "two words"] stdin`; string(out) != want {
		t.Errorf("output %q, want %q", out, want)
	}
	if cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("exit status: %v, want 7", err)
	}
}

func TestEnterReportsDeathBySignal(t *testing.T) {
	labtest.Need(t)
	cmd := program(t, "suicide")
	cmd.Run()
	if got, want := cmd.ProcessState.ExitCode(), 128+int(unix.SIGKILL); got != want {
		t.Errorf("exit status %d, want %d", got, want)
	}
}

func TestEnterForwardsSignals(t *testing.T) {
	labtest.Need(t)
	cmd := program(t, "signal")
	// Away from any terminal: there SIGINT is the terminal's to send.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_, out := start(t, cmd)
	for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM} {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if line, err := out.ReadString('\n'); line != sig.String()+"\n" {
			t.Fatalf("program caught %q, %v; want %v", line, err, sig)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A second SIGINT makes many programs give up without a report, so Ctrl-C must
// arrive once.
func TestEnterLeavesCtrlCToTheTerminal(t *testing.T) {
	labtest.Need(t)
	keyboard, tty := openPTY(t)
	cmd := program(t, "signal")
	cmd.Stdin = tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	_, out := start(t, cmd)
	if _, err := keyboard.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	line, err := out.ReadString('\n')
	if line != "interrupt\n" {
		t.Fatalf("program caught %q, %v; want interrupt", line, err)
	}
	// Had the first process forwarded it, it would come before this one.
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if line, err = out.ReadString('\n'); line != "terminated\n" {
		t.Errorf("then it caught %q, %v; want terminated", line, err)
	}
}

func openPTY(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return keyboard, tty
}

func TestEnterLeavesNoOrphan(t *testing.T) {
	labtest.Need(t)
	cmd := program(t, "linger")
	_, out := start(t, cmd)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// Both processes hold the pipe, so it ends when both are gone.
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
}

func TestEnterNamesTheLimit(t *testing.T) {
	labtest.Need(t)
	cmd := program(t, "limited")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit status: %v, want 1", err)
	}
	for _, want := range []string{netlab.ErrUnavailable.Error(), "user.max_net_namespaces is 0", "sysctl -w"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("error %q does not say %q", out, want)
		}
	}
}

// Where namespaces exist but give no rights, the second process learns it
// first; the error belongs to the first.
func TestEnterReportsWhatFailsInside(t *testing.T) {
	labtest.Need(t)
	cmd := program(t, "powerless")
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit status: %v, want 1", err)
	}
	for _, want := range []string{netlab.ErrUnavailable.Error(), "loopback", unix.EPERM.Error()} {
		if !strings.Contains(string(out), want) {
			t.Errorf("error %q does not say %q", out, want)
		}
	}
}

func TestEnterLeavesHomeAlone(t *testing.T) {
	home := labtest.New(t)
	cmd := program(t, "rules")
	var out io.Reader
	var in io.Closer
	home.Do(func() error {
		in, out = start(t, cmd)
		return nil
	})
	// Its rules stand now; they must not stand here.
	err := home.Do(func() error {
		tables, err := new(nftables.Conn).ListTables()
		if len(tables) != 0 {
			t.Errorf("%d tables in the namespace that Enter left", len(tables))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	in.Close()
	io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestCurrentIsTheEnteredNamespace(t *testing.T) {
	labtest.Need(t)
	lab, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	if got, want := inode(t, lab), threadInode(t); got != want {
		t.Errorf("Current is namespace %d, this thread is in %d", got, want)
	}
}

// TestOrdinaryUser runs all other tests again as nobody, in a private user
// namespace.
func TestOrdinaryUser(t *testing.T) {
	labtest.Need(t)
	if !netlab.Privileged() {
		t.Skip("not root of the machine: the other tests run as an ordinary user already")
	}
	const nobody = 65534
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	exe := filepath.Join(dir, "netlab.test")
	if err := copyProgram(exe, "/proc/self/exe"); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(dir, "tmp")
	if err := errors.Join(os.Mkdir(tmp, 0o700), os.Chown(tmp, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	asNobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}

	// Before Enter, an ordinary user has no namespace and cannot make one.
	cmd := exec.Command(exe)
	cmd.Env = append(homeEnv(), envRole+"=outsider")
	cmd.SysProcAttr = asNobody
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "true true ") || !strings.Contains(string(out), "netlab.Enter") {
		t.Errorf("outside: %q, %v", out, err)
	}

	cmd = exec.Command(exe, "-test.v", "-test.skip=^TestOrdinaryUser$")
	cmd.Dir = tmp
	// With CI set a test fails where it would skip for want of a namespace.
	cmd.Env = append(homeEnv(), "CI=1", "GORACE=atexit_sleep_ms=0", "TMPDIR="+tmp, envOrdinary+"=1")
	cmd.SysProcAttr = asNobody
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("as uid %d: %v\n%s", nobody, err, out)
	}
}

// The program may be in a folder that the user may not enter, as what go run builds
// for root is.
func TestEnterFromAFolderOutOfReach(t *testing.T) {
	labtest.Need(t)
	if !netlab.Privileged() {
		t.Skip("needs root of the machine, to become somebody else")
	}
	name := filepath.Join(t.TempDir(), "netlab.test")
	if err := errors.Join(copyProgram(name, "/proc/self/exe"), os.Chmod(filepath.Dir(name), 0o700)); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	const nobody = 65534
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", exe.Fd()), "word")
	cmd.Dir = "/"
	cmd.Env = append(homeEnv(), envRole+"=describe", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); string(out) != `true ["word"] ` || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("%q, %v", out, err)
	}
}

// envOrdinary tells the tests that they run as an ordinary user.
const envOrdinary = "NETLAB_TEST_ORDINARY"

func TestPrivileged(t *testing.T) {
	want := os.Getenv(envOrdinary) == ""
	if want && os.Getuid() != 0 {
		t.Skip("needs root for comparison")
	}
	uidMap, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	// Also false where the tests themselves were started in a user namespace.
	if !strings.HasSuffix(strings.TrimSpace(string(uidMap)), "4294967295") {
		want = false
	}
	if got := netlab.Privileged(); got != want {
		t.Errorf("Privileged() = %v, want %v", got, want)
	}
}

func copyProgram(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
