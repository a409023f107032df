// Package labtest gives tests their private network namespaces. It stands apart
// from netlab so that programs do not link the testing package.
//
//	func TestMain(m *testing.M) { labtest.Main(m) }
//
//	func TestForward(t *testing.T) {
//		router := labtest.New(t)
//		...
//	}
package labtest

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
)

var errNoMain = errors.New("TestMain of this package does not call labtest.Main")

// unavailable is why there is no lab; nil when there is one.
var unavailable = errNoMain

// Main runs the tests of m in a private network namespace and exits. Call it
// first thing in TestMain: [netlab.Enter] runs the test binary a second time.
// Where there can be no namespace, the tests run all the same and [Need] skips
// those that ask for one.
func Main(m *testing.M) {
	unavailable = netlab.Enter()
	os.Exit(m.Run())
}

// Need skips the test, giving the reason, when it does not run in a private
// network namespace. Where the environment variable CI is set the test fails
// instead, so that nothing goes untested there unnoticed.
func Need(t testing.TB) {
	t.Helper()
	switch {
	case unavailable == nil:
	case errors.Is(unavailable, errNoMain):
		t.Fatal(unavailable)
	default:
		skip(t, unavailable)
	}
}

// Program returns the path of an installed program. Where it is missing, the
// test is skipped or, where the environment variable CI is set, fails.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		skip(t, err)
	}
	return path
}

func skip(t testing.TB, why error) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("CI must test this: %v", why)
	}
	t.Skip(why)
}

// New returns a fresh private namespace that is closed when the test ends. It
// calls [Need].
func New(t testing.TB) *netlab.NS {
	t.Helper()
	Need(t)
	ns, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Errorf("close namespace: %v", err)
		}
	})
	return ns
}
