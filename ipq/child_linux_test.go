package ipq

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
)

// childNetNS is the descriptor of the namespace that startChild passes on.
const childNetNS = 3

// childFiles is the first descriptor of the files that startChild passes on.
const childFiles = 4

// A child is a test of this package, run again in a process of its own for what
// is to be seen of a process. They talk in lines.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// startChild runs the calling test with helperEnv set to role, and with files as
// descriptors from childFiles on. The process ends
// when its test does, and should when its standard input ends.
func startChild(t *testing.T, ns *netlab.NS, role string, files ...*os.File) *child {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(ns.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	nsFile := os.NewFile(uintptr(fd), "namespace")
	defer nsFile.Close()
	name, _, _ := strings.Cut(t.Name(), "/")
	c := &child{t: t, cmd: exec.Command("/proc/self/exe", "-test.run=^"+name+"$")}
	c.cmd.Env = append(os.Environ(), helperEnv+"="+role, "GORACE=atexit_sleep_ms=0")
	c.cmd.ExtraFiles = append([]*os.File{nsFile}, files...)
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	})
	return c
}

// say tells the process something.
func (c *child) say(line string) { fmt.Fprintln(c.stdin, line) }

// hear scans the next line that the process says.
func (c *child) hear(format string, args ...any) {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("the process said %q, %v", line, err)
	}
	if n, err := fmt.Sscanf(line, format+"\n", args...); n != len(args) || err != nil {
		c.t.Fatalf("the process said %q, want %q: %v", line, format, err)
	}
}

// end has the process end in order.
func (c *child) end() {
	c.t.Helper()
	c.stdin.Close()
	said, _ := io.ReadAll(c.out)
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("the process: %v\n%s", err, said)
	}
}
