package flood

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

func TestCheckInitial(t *testing.T) {
	for _, test := range []struct {
		files   []string
		private bool
	}{
		{nil, false},
		{[]string{"core/dev_weight"}, false},
		{[]string{"core/dev_weight", "core/somaxconn", "ipv4/ip_forward"}, false},
		{[]string{"core/somaxconn", "ipv4/ip_forward"}, true},
		{[]string{"ipv4/ip_forward"}, true}, // an ordinary user's, in Linux 6.1
	} {
		dir := t.TempDir()
		for _, name := range test.files {
			path := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if err := checkInitial(dir); (err == nil) != test.private || err != nil && !errors.Is(err, ErrNotPrivate) {
			t.Errorf("namespace that shows %v: %v", test.files, err)
		}
	}
}

// In the namespace that the tests were started from, Start refuses. Should it
// fail to, one echo request goes to a loopback address there.
func TestRefusesSharedNamespace(t *testing.T) {
	labtest.Need(t)
	outside, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", os.Getppid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("an ordinary user cannot go back: %v", err)
	}
	defer unix.Close(outside)
	inside, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inside)

	runtime.LockOSThread()
	if err := unix.Setns(outside, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		t.Skipf("an ordinary user cannot go back: %v", err)
	}
	private := checkPrivate() == nil
	_, startErr := Start(t.Context(), Config{Count: 1})
	if err := unix.Setns(inside, unix.CLONE_NEWNET); err != nil {
		t.Fatal(err) // the thread ends with this goroutine
	}
	runtime.UnlockOSThread()
	if private {
		t.Skip("the tests were started in a private namespace")
	}
	if !errors.Is(startErr, ErrNotPrivate) {
		t.Errorf("Start in the machine's namespace: %v, want ErrNotPrivate", startErr)
	}
}
