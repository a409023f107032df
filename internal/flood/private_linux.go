package flood

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// checkPrivate returns nil when this process runs in a network namespace that
// somebody made. Two checks, because either may be blind: process 1 may be out
// of sight, and a container's namespace is not the initial one.
func checkPrivate() error {
	if err := checkInitial("/proc/sys/net"); err != nil {
		return err
	}
	own, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotPrivate, err)
	}
	if first, err := os.Stat("/proc/1/ns/net"); err == nil && os.SameFile(own, first) {
		return fmt.Errorf("%w: it is that of process 1; call Start inside a new one", ErrNotPrivate)
	}
	return nil
}

// checkInitial returns nil when dir, the caller's view of the net sysctls, is
// not the initial network namespace's: the kernel shows net.core.dev_weight (in
// net_core_table) only there, and net.ipv4.ip_forward everywhere. No other name
// in net.core would do for that: Linux 6.1 hides them all in a namespace that
// belongs to an ordinary user.
func checkInitial(dir string) error {
	if _, err := os.Stat(dir + "/ipv4/ip_forward"); err != nil {
		return fmt.Errorf("%w: cannot tell: %w", ErrNotPrivate, err)
	}
	_, err := os.Stat(dir + "/core/dev_weight")
	switch {
	case err == nil:
		return fmt.Errorf("%w: it is the initial one; call Start inside a new one", ErrNotPrivate)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return fmt.Errorf("%w: cannot tell: %w", ErrNotPrivate, err)
	}
}
