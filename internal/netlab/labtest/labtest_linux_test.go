package labtest_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// envLimit makes the test binary forbid itself any network namespace.
const envLimit = "LABTEST_TEST_LIMIT"

func TestMain(m *testing.M) {
	if os.Getenv(envLimit) != "" {
		// Private to the user namespace that runLimited made.
		if err := os.WriteFile("/proc/sys/user/max_net_namespaces", []byte("0"), 0); err != nil {
			panic(err)
		}
	}
	labtest.Main(m)
}

func TestNewIsFresh(t *testing.T) {
	a, b := labtest.New(t), labtest.New(t)
	if a.FD() == b.FD() {
		t.Error("New returned one namespace twice")
	}
}

// The fuzzing engine runs the test binary again for each worker.
func FuzzInside(f *testing.F) {
	labtest.Need(f)
	f.Add(0)
	f.Fuzz(func(t *testing.T, _ int) {
		labtest.Need(t)
		if !netlab.Inside() {
			t.Error("fuzz worker is not inside")
		}
	})
}

func TestFuzzWorkersAreInside(t *testing.T) {
	labtest.Need(t)
	out, err := command(t, nil, "-test.run=^$", "-test.fuzz=^FuzzInside$", "-test.fuzztime=20x",
		"-test.parallel=1", "-test.fuzzcachedir="+t.TempDir()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestListStillLists(t *testing.T) {
	out, err := command(t, nil, "-test.list=^TestNew").CombinedOutput()
	if err != nil || string(out) != "TestNewIsFresh\n" {
		t.Errorf("%q, %v; want the one test", out, err)
	}
}

func TestWithoutLab(t *testing.T) {
	labtest.Need(t)
	for _, c := range []struct {
		name string
		env  []string
		code int
		want string
	}{
		{"skips", nil, 0, "--- SKIP: TestNewIsFresh"},
		{"fails under CI", []string{"CI=true"}, 1, "--- FAIL: TestNewIsFresh"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := command(t, append(c.env, envLimit+"=1"), "-test.v", "-test.run=^TestNewIsFresh$")
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
			}
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != c.code {
				t.Errorf("%v, want exit status %d", err, c.code)
			}
			for _, want := range []string{c.want, "user.max_net_namespaces is 0"} {
				if !strings.Contains(string(out), want) {
					t.Errorf("output lacks %q:\n%s", want, out)
				}
			}
		})
	}
}

// command runs this test binary again as from the shell, in a process that Enter
// has not moved.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GOIPQ_NETLAB_") && !strings.HasPrefix(v, "CI=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	// Under the race detector every exit waits a second by default.
	cmd.Env = append(append(cmd.Env, "GORACE=atexit_sleep_ms=0"), env...)
	return cmd
}
