package flood

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

// parentEnv turns this test binary into a program that starts a flood, writes
// the flood's process id and waits to be killed.
const parentEnv = "GOIPQ_FLOOD_TEST_PARENT"

func runParent() {
	if os.Getenv(parentEnv) == "" {
		return
	}
	f, err := Start(context.Background(), Config{Rate: 1000})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(f.cmd.Process.Pid)
	f.Wait()
	os.Exit(0)
}

func TestParentDeathEndsFlood(t *testing.T) {
	labtest.Need(t)
	parent := exec.Command("/proc/self/exe")
	parent.Env = append(os.Environ(), parentEnv+"=1")
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer parent.Wait()
	defer parent.Process.Kill()

	line, _ := bufio.NewReader(stdout).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent says %q, want a process id", line)
	}
	child, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if ended(t, child, 0) {
		t.Fatal("the flood ended before its parent")
	}
	parent.Process.Kill()
	if !ended(t, child, int(patience.Milliseconds())) {
		unix.PidfdSendSignal(child, unix.SIGKILL, nil, 0)
		t.Errorf("the flood goes on %v after its parent was killed", patience)
	}
}

// ended reports whether the process behind a pidfd ends within so many
// milliseconds.
func ended(t *testing.T, pidfd, millis int) bool {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, millis)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
}
