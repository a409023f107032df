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
	if err := checkInitial("/proc/sys/net/core"); err != nil {
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

// checkInitial returns nil when dir, the caller's view of net.core, is not the
// initial network namespace's: the kernel shows net.core.dev_weight (in
// net_core_table) only there, and net.core.somaxconn (in netns_core_table)
// everywhere.
func checkInitial(dir string) error {
	if _, err := os.Stat(dir + "/somaxconn"); err != nil {
		return fmt.Errorf("%w: cannot tell: %w", ErrNotPrivate, err)
	}
	_, err := os.Stat(dir + "/dev_weight")
	switch {
	case err == nil:
		return fmt.Errorf("%w: it is the initial one; call Start inside a new one", ErrNotPrivate)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return fmt.Errorf("%w: cannot tell: %w", ErrNotPrivate, err)
	}
}
