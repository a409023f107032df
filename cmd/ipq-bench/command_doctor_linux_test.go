package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
)

func TestDoctor(t *testing.T) {
	text := runDoctor(t, command("doctor"))
	if os.Geteuid() == 0 && !strings.Contains(text, "Root's rights") {
		t.Errorf("root is not told so:\n%s", text)
	}
}

func TestDoctorAsOrdinaryUser(t *testing.T) {
	cmd := asOrdinaryUser(t, command("doctor"))
	text := runDoctor(t, cmd)
	for _, want := range []string{"\nlimited  user ", "\nok       namespaces ", "\nmissing  bypass, eBPF "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// asOrdinaryUser makes a command run as nobody, in a folder that is
// nobody's, unlike t.TempDir.
func asOrdinaryUser(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	const nobody = 65534
	if os.Geteuid() != 0 {
		t.Skip("needs root to become an ordinary user; without, all tests run as one")
	}
	dir, err := os.MkdirTemp("", "ipq-bench")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "ipq-bench")
	copyFile(t, program, cmd.Path)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Dir = program, dir
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	return cmd
}

// runDoctor runs it where packets can be queued, which is where tests run.
func runDoctor(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	text := mustRun(t, cmd)
	benchtest.WantLines(t, text, 100)
	for _, want := range []string{"queue rule", "IPv4", "FailOpen", "GSO", "Conntrack", "UIDGID", "SecCtx", "socket buffer"} {
		if strings.Count(text, " "+want+" ") != 1 {
			t.Errorf("%s is not said once in\n%s", want, text)
		}
	}
	if !strings.Contains(text, "\nok       queue rule ") || !strings.Contains(text, "\ngoipq works here") {
		t.Errorf("it does not work here:\n%s", text)
	}
	return text
}
