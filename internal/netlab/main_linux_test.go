package netlab_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// envRole makes the test binary play a program that calls Enter.
const envRole = "NETLAB_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		os.Exit(play(role))
	}
	labtest.Main(m)
}

// play is the main function of the test programs.
func play(role string) int {
	caught := make(chan os.Signal, 8)
	var err error
	switch role {
	case "limited":
		// Private to the user namespace that the test made for this role.
		err = os.WriteFile("/proc/sys/user/max_net_namespaces", []byte("0"), 0)
	case "powerless":
		// The process that this thread is going to start lacks the right.
		runtime.LockOSThread()
		err = unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_ADMIN, 0, 0, 0)
	case "outsider":
		_, newErr := netlab.New()
		_, currentErr := netlab.Current()
		fmt.Println(errors.Is(newErr, netlab.ErrUnavailable), errors.Is(currentErr, netlab.ErrNotInside), newErr)
		return 0
	case "signal":
		signal.Notify(caught, unix.SIGTERM, unix.SIGHUP, unix.SIGINT)
	}
	if err != nil {
		fmt.Println(err)
		return 2
	}
	if err := netlab.Enter(); err != nil {
		fmt.Println(err)
		return 1
	}
	switch role {
	case "describe":
		in, _ := io.ReadAll(os.Stdin)
		fmt.Printf("%v %q %s", netlab.Inside(), os.Args[1:], in)
		return 7
	case "suicide":
		unix.Kill(os.Getpid(), unix.SIGKILL)
	case "signal":
		fmt.Println("ready")
		for sig := range caught {
			fmt.Println(sig)
			if sig == unix.SIGTERM {
				break
			}
		}
	case "linger":
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
	case "rules":
		lab, err := netlab.Current()
		if err == nil {
			_, err = lab.InstallQueue(netlab.Rule{Hook: netlab.Output})
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
	}
	return 0
}

// program returns a command that plays the role in a process that Enter has not
// moved: its home is the namespace that it is started in.
func program(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	// Under the race detector every exit waits a second by default.
	cmd.Env = append(homeEnv(), envRole+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

// homeEnv is the environment without what Enter added.
func homeEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "GOIPQ_NETLAB_") })
}

// start starts a program that prints "ready", and returns its streams from then
// on. Its input is a pipe, unless it has one; closing that ends it.
func start(t *testing.T, cmd *exec.Cmd) (in io.Closer, out *bufio.Reader) {
	t.Helper()
	if cmd.Stdin == nil {
		pipe, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		in = pipe
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// A program that does not say what the test waits for fails it.
	if err := pipe.(*os.File).SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	out = bufio.NewReader(pipe)
	if line, err := out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("program said %q, %v; want ready", line, err)
	}
	return in, out
}
